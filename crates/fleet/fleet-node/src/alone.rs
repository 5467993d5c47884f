//! The fence without a node: while fleetd does not run.

use std::sync::Arc;

use crate::agent::{Fenced, RememberUnits, There};
use crate::contact::Contact;
use crate::fence::Guard;
use crate::hands::{Hands, Peers};
use crate::known::Known;
use crate::settings::Settings;

/// What a fence works with.
pub struct Alone<H, P> {
    pub hands: H,
    pub peers: P,
    /// Called with the units that are launched, by their texts, whenever they change.
    pub remember_units: RememberUnits,
}

/// Stops this machine's units before another machine may start them, counted from the last beat that the settings remember,
/// under the rules of a node that is cut off. Returns only where the machine has no unit. Needs a tokio runtime.
pub async fn keep_fence<H: Hands, P: Peers>(settings: Settings, alone: Alone<H, P>) {
    let Alone { hands, peers, remember_units } = alone;
    let sent = settings.remembered.as_ref().map(|memory| memory.sent);
    let (known, contact) = (Arc::new(Known::default()), Arc::new(Contact::new(sent)));
    let there = Arc::new(There::new(remember_units));
    there.adopt_all(&hands, &settings).await;
    if there.names().is_empty() {
        return;
    }
    let fenced = Fenced { hands, there, known: known.clone(), contact: contact.clone() };
    let (settings, known, contact) = (&settings, &*known, &*contact);
    let guard = Guard { peers, settings, known, contact, remember: &|_| (), alive: &|| () };
    tokio::join!(guard.watch_over(), fenced.keep());
}
