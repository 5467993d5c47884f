//! The error codes of the v2 API, with their messages and HTTP statuses.

macro_rules! error_codes {
    ($($name:ident = $code:literal, $status:literal, $message:literal;)*) => {
        /// An `errorCode`. Includes those that only etcd 0.4 sends, for clients.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ErrorCode { $(#[doc = $message] $name),* }

        impl ErrorCode {
            #[cfg(test)]
            const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The numeric code.
            pub fn number(self) -> u16 {
                match self { $(Self::$name => $code),* }
            }

            /// The message of the code.
            pub fn message(self) -> &'static str {
                match self { $(Self::$name => $message),* }
            }

            /// The HTTP status of a response with this code.
            pub fn http_status(self) -> u16 {
                match self { $(Self::$name => $status),* }
            }
        }
    };
}

error_codes! {
    KeyNotFound = 100, 404, "Key not found";
    CompareFailed = 101, 412, "Compare failed";
    NotAFile = 102, 403, "Not a file";
    TooManyPeers = 103, 400, "Reached the max number of peers in the cluster";
    NotADirectory = 104, 400, "Not a directory";
    KeyExists = 105, 412, "Key already exists";
    KeywordPrefix = 106, 400, "The prefix of given key is a keyword in etcd";
    RootReadOnly = 107, 400, "Root is read only";
    DirectoryNotEmpty = 108, 403, "Directory not empty";
    PeerAddressExists = 109, 400, "Peer address has existed";
    Unauthorized = 110, 401, "The request requires user authentication";
    ValueRequired = 200, 400, "Value is Required in POST form";
    PrevValueRequired = 201, 400, "PrevValue is Required in POST form";
    TtlNotANumber = 202, 400, "The given TTL in POST form is not a number";
    IndexNotANumber = 203, 400, "The given index in POST form is not a number";
    ValueOrTtlRequired = 204, 400, "Value or TTL is required in POST form";
    TimeoutNotANumber = 205, 400, "The given timeout in POST form is not a number";
    NameRequired = 206, 400, "Name is required in POST form";
    IndexOrValueRequired = 207, 400, "Index or value is required";
    IndexValueConflict = 208, 400, "Index and value cannot both be specified";
    InvalidField = 209, 400, "Invalid field";
    InvalidForm = 210, 400, "Invalid POST form";
    RefreshWithValue = 211, 400, "Value provided on refresh";
    RefreshWithoutTtl = 212, 400, "A TTL must be provided on refresh";
    RaftInternal = 300, 500, "Raft Internal Error";
    DuringElection = 301, 500, "During Leader Election";
    WatcherCleared = 400, 400, "watcher is cleared due to etcd recovery";
    EventIndexCleared = 401, 400, "The event in requested index is outdated and cleared";
    StandbyInternal = 402, 400, "Standby Internal Error";
    InvalidActiveSize = 403, 400, "Invalid active size";
    InvalidRemoveDelay = 404, 400, "Standby remove delay";
    ClientInternal = 500, 400, "Client Internal Error";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_match_the_contract() {
        for code in ErrorCode::ALL {
            let expect = match code.number() {
                100 => 404,
                102 | 108 => 403,
                110 => 401,
                101 | 105 => 412,
                300 | 301 => 500,
                _ => 400,
            };
            assert_eq!(code.http_status(), expect, "{code:?}");
        }
        assert!(ErrorCode::ALL.is_sorted_by_key(|code| code.number()));
    }
}
