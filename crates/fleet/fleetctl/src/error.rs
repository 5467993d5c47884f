//! Errors of registry requests, for both drivers.

#[derive(Debug)]
pub enum Error {
    Api(fleet_client::Error),
    /// etcd rejected the request or is unreachable, or the stored keys do not permit it.
    Store(String),
    /// Not possible with access to the keys alone.
    NeedsFleetd,
}

impl Error {
    /// Whether a retry may succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Api(error) => error.is_transient(),
            Error::Store(_) => true,
            Error::NeedsFleetd => false,
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Api(error) => error.fmt(to),
            Error::Store(text) => to.write_str(text),
            Error::NeedsFleetd => to.write_str("this needs a fleetd, use --driver=API"),
        }
    }
}

impl std::error::Error for Error {}

impl From<fleet_client::Error> for Error {
    fn from(error: fleet_client::Error) -> Error {
        Error::Api(error)
    }
}
