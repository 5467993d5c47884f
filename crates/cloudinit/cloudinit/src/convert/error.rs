//! Errors of a conversion.

#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    #[error("the user-data is a script, which has no counterpart: put it in a file, and a unit that runs it")]
    Script,
    #[error("the user-data is an Ignition config already")]
    Ignition,
    #[error("the user-data is not valid")]
    Invalid,
    #[error("cannot write it as JSON")]
    Json(#[source] serde_json::Error),
    #[error("cannot write it as YAML")]
    Yaml(#[source] serde_yaml::Error),
}
