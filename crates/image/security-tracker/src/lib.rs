//! Known vulnerabilities of Debian packages: the data of Debian's security tracker, in the format that `debsecan` reads,
//! compared with installed packages.
//!
//! It never reads a file or a clock, and never skips a line that it cannot parse: a damaged feed would hide
//! vulnerabilities.

#![warn(missing_docs)]

mod copy;
mod feed;
pub mod limits;
mod report;
mod status;
mod version;

pub use copy::{Copy, CopyError};
pub use feed::{Feed, FeedError, Kind, Problem, Urgency, Vulnerability};
pub use report::{Finding, findings};
pub use status::{Installed, SourceError, StatusError, read_status};
pub use version::compare;
