//! Why there is no good answer, whichever driver was asked.

#[derive(Debug)]
pub enum Error {
    Api(fleet_client::Error),
    /// The store refused, or is not there; or the keys do not allow what was asked.
    Store(String),
    /// The keys alone cannot do it.
    NeedsFleetd,
}

impl Error {
    /// Whether it can be otherwise in a moment.
    pub fn may_pass(&self) -> bool {
        match self {
            Error::Api(error) => error.may_pass(),
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
