//! Cases as data: files in `cases/`, each case a few requests with expected responses.
//!
//! This module does no I/O with servers. `cases/README.md` describes the format.

mod parse;
mod step;
mod template;

pub use parse::parse;
pub use step::{BodyRule, Case, Expected, IndexRule, Sent, Step};
pub use template::{Environment, expand, matches};

/// Parses all files in `cases/`.
pub fn all() -> Result<Vec<Case>, crate::failure::Failure> {
    let files = [
        ("requests", include_str!("../cases/requests.case")),
        ("parameters", include_str!("../cases/parameters.case")),
        ("answers", include_str!("../cases/answers.case")),
        ("get", include_str!("../cases/get.case")),
        ("put", include_str!("../cases/put.case")),
        ("compare", include_str!("../cases/compare.case")),
        ("refresh", include_str!("../cases/refresh.case")),
        ("post", include_str!("../cases/post.case")),
        ("delete", include_str!("../cases/delete.case")),
        ("history", include_str!("../cases/history.case")),
        ("script", include_str!("../cases/script.case")),
        ("members", include_str!("../cases/members.case")),
        ("endpoints", include_str!("../cases/endpoints.case")),
        ("auth", include_str!("../cases/auth.case")),
        ("v1", include_str!("../cases/v1.case")),
    ];
    let mut cases = Vec::new();
    for (name, text) in files {
        cases.extend(parse(name, text)?);
    }
    Ok(cases)
}
