//! Reasons for `noupdate`: a key for programs and a sentence for operators.

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$about:meta])* $variant:ident = $key:literal: $description:literal,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[$about])* #[serde(rename = $key)] $variant,)*
        }

        impl Reason {
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// As in the response.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $key,)* }
            }

            pub fn description(self) -> &'static str {
                match self { $(Self::$variant => $description,)* }
            }
        }
    };
}

reasons! {
    NoPackage = "no-package": "nothing was published to the channel yet",
    UpToDate = "up-to-date": "it runs the channel's version",
    Newer = "newer-than-channel": "it runs a newer version than the channel has; nothing is ever offered downward",
    Banned = "banned": "the version was banned by an operator",
    Blacklisted = "blacklisted": "the version is not for this channel",
    GivenUp = "rolled-back-here": "the machine booted this version and gave it up",
    TooOld = "too-old": "the version cannot be reached from this one, and no floor lies between",
    UpdateInProgress = "update-in-progress": "it has installed the version and not booted it yet",
    Paused = "paused": "the group is paused",
    Window = "outside-window": "it is not the time of updates",
    Share = "not-in-share": "its turn comes with a later wave or a higher percentage",
    SafeMode = "safe-mode": "one machine tries the version first",
    MaxPerPeriod = "max-per-period": "as many machines as may began in this period",
    MaxInProgress = "max-concurrent": "as many machines as may are on their way",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_unique_and_descriptions_exist() {
        let keys: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(keys.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            let json = serde_json::to_string(reason).unwrap();
            assert_eq!(json, format!("{:?}", reason.as_str()));
            assert!(!reason.description().is_empty());
        }
    }
}
