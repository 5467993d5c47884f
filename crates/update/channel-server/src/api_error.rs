//! Why a request to the API failed.

use hyper::StatusCode;
use rollout::OperateError;

use crate::body::{HttpResponse, error_response};
use crate::files_error::FilesError;
use crate::repository::{ListedError, TargetsError};
use crate::roots::RootError;
use crate::server::Server;

#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("not found, or the method is not supported")]
    NotFound,
    #[error("invalid request body: {0}")]
    Json(#[from] serde_json::Error),
    #[error("invalid version {0:?}")]
    InvalidVersion(String),
    #[error(transparent)]
    Track(#[from] rollout::ParseTrackError),
    #[error("{}", causes(.0))]
    Operate(#[from] OperateError),
    #[error("{}", causes(.0))]
    Files(#[from] FilesError),
    #[error("{}", causes(.0))]
    Root(#[from] RootError),
    #[error("{}", causes(.0))]
    Targets(#[from] TargetsError),
    #[error("{}", causes(.0))]
    Listed(#[from] ListedError),
    #[error("neither `root` nor `targets`")]
    NoMetadata,
    #[error("invalid {what} {text:?}")]
    InvalidText { what: &'static str, text: String },
    #[error("cannot save the change: {0}")]
    Store(#[from] crate::store::StoreError),
    #[error("internal error: the task failed")]
    TaskFailed,
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Operate(
                OperateError::AppNotFound(_)
                | OperateError::ChannelNotFound(_)
                | OperateError::GroupNotFound(_)
                | OperateError::MachineNotFound(_)
                | OperateError::PackageNotFound(..),
            ) => StatusCode::NOT_FOUND,
            Self::Operate(
                OperateError::ContentsDiffer(_)
                | OperateError::InUse(..)
                | OperateError::ChannelInUse(..)
                | OperateError::NotForChannel { .. }
                | OperateError::Banned(..)
                | OperateError::EmptyChannel(_),
            )
            | Self::Files(
                FilesError::AlreadyPublished(_) | FilesError::ImagesPublished(_) | FilesError::Missing(_),
            ) => StatusCode::CONFLICT,
            Self::Root(RootError::AlreadyPublished(_) | RootError::Older { .. } | RootError::TooMany(_)) => {
                StatusCode::CONFLICT
            }
            Self::Targets(
                TargetsError::NoRoot
                | TargetsError::Older { .. }
                | TargetsError::AlreadyPublished(_)
                | TargetsError::Dropped { .. }
                | TargetsError::Changed { .. }
                | TargetsError::RootAlone { .. },
            )
            | Self::Files(FilesError::Listed(_)) => StatusCode::CONFLICT,
            Self::Listed(ListedError::NoRoot | ListedError::NoTargets) => StatusCode::NOT_FOUND,
            Self::Targets(TargetsError::Io(..))
            | Self::Root(RootError::Io(..))
            | Self::Files(FilesError::Io(..))
            | Self::Store(_)
            | Self::TaskFailed => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    pub fn response(&self) -> HttpResponse {
        if self.status().is_server_error() {
            tracing::error!(error = %self, "a request to the API failed");
        }
        error_response(self.status(), self)
    }
}

/// The key of an application.
///
/// # Errors
/// There is no such application.
pub fn app_key(server: &Server, app: &str) -> Result<String, ApiError> {
    let key = server.state.lock().app(app).map(|(key, _)| key.to_owned());
    Ok(key.ok_or_else(|| OperateError::AppNotFound(app.to_owned()))?)
}
