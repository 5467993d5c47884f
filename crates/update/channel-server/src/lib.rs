//! The update server: Omaha for machines, release and image files with byte ranges, an API, a web page and metrics for
//! operators.
//!
//! It never decides which machine gets which version (`rollout` does), never acknowledges a change that is not on
//! disk, never logs a token, signs nothing but which version a channel has, and does not start
//! beside the keys that sign anything else.

mod api;
mod api_error;
mod api_request;
mod body;
mod channel_images;
mod current;
mod download;
mod endpoint;
mod events;
pub mod fake;
mod files;
mod files_error;
mod image_store;
mod images;
mod images_api;
mod keys_api;
mod limits;
mod listed;
mod metadata;
mod metrics;
mod offline_keys;
mod overview;
mod page;
mod queries;
mod release_id;
mod repository;
mod roots;
mod route;
mod routes;
mod serve;
mod server;
mod signing;
mod store;
mod token;
mod update;
mod uploads;
mod vagrant;
mod warnings;

pub use current::{NoRelease, ReleaseFolderError, metadata_folder, release_folder};
pub use files_error::FilesError;
pub use offline_keys::{OfflineKey, offline_key};
pub use omaha::registration::MIN_TOKEN;
pub use repository::{OpenRepositoryError, TargetsError};
pub use roots::RootError;
pub use routes::{ROUTES, Route};
pub use serve::serve;
pub use server::{OpenError, Server, Settings};
pub use signing::{PUBLIC as PUBLIC_KEY, SigningError};
pub use store::StoreError;
pub use token::{
    ADMIN as ADMIN_TOKEN, REGISTRATION as REGISTRATION_TOKEN, TokenError, VIEWER as VIEWER_TOKEN,
};
