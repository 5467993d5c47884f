//! Reasons for `noupdate`: a key for programs and a sentence for operators.

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$about:meta])* $variant:ident = $key:literal: $description:literal,)*) => {
        /// Why a machine gets no update.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[$about])* #[doc = $description] #[serde(rename = $key)] $variant,)*
        }

        impl Reason {
            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$variant,)*];

            /// As in the response.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $key,)* }
            }

            /// A sentence for operators.
            pub fn description(self) -> &'static str {
                match self { $(Self::$variant => $description,)* }
            }
        }
    };
}

reasons! {
    NoPackage = "no-package": "the channel has no version",
    UpToDate = "up-to-date": "the machine runs the channel's version",
    Newer = "newer-than-channel": "the machine runs a newer version than the channel's; downgrades are never offered",
    Banned = "banned": "the version was banned by an operator",
    Blacklisted = "blacklisted": "the version is not for this channel",
    GivenUp = "rolled-back-here": "the machine booted this version and rolled back",
    TooOld = "too-old": "the machine's version is too old for a direct update, and there is no floor in between",
    UpdateInProgress = "update-in-progress": "the machine has installed the version and not booted it yet",
    Paused = "paused": "the group is paused",
    Window = "outside-window": "outside of the group's update windows",
    Share = "not-in-share": "waiting for a later wave or a higher percentage",
    SafeMode = "safe-mode": "safe mode: another machine tries the version first",
    MaxPerPeriod = "max-per-period": "the limit of updates per period is reached",
    MaxInProgress = "max-concurrent": "the limit of concurrent updates is reached",
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
