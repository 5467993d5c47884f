//! The resources of the API with their paths and methods. `docs/reference/api/fleet.yaml` describes each.

use fleet_api::ErrorDocument;
use hyper::Method;

use crate::response::{method_not_allowed, path_not_found};

/// A resource with its path and methods.
#[derive(Debug)]
pub struct Route<R: 'static> {
    resource: R,
    /// Below the prefix. `{NAME}` is any segment.
    pub path: &'static str,
    /// Others are answered with 405.
    pub methods: &'static [Method],
}

const fn route<R>(resource: R, path: &'static str, methods: &'static [Method]) -> Route<R> {
    Route { resource, path, methods }
}

/// Resources of the original.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Original {
    Discovery,
    Metrics,
    Units,
    Unit,
    States,
    State,
    Machines,
}

/// Resources of the extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addition {
    Units,
    Explanation,
    Status,
    Journal,
    Plan,
    Rebalance,
    Cordon,
}

/// Below both prefixes of the original.
pub static ORIGINAL: [Route<Original>; 7] = [
    route(Original::Discovery, "discovery", &[Method::GET]),
    route(Original::Metrics, "metrics", &[Method::GET]),
    route(Original::Units, "units", &[Method::GET]),
    route(Original::Unit, "units/{name}", &[Method::GET, Method::PUT, Method::DELETE]),
    route(Original::States, "state", &[Method::GET]),
    route(Original::State, "state/{name}", &[Method::GET]),
    route(Original::Machines, "machines", &[Method::GET, Method::PATCH]),
];

/// Below the prefix of the extensions.
pub static ADDITIONS: [Route<Addition>; 7] = [
    route(Addition::Units, "units", &[Method::GET]),
    route(Addition::Explanation, "units/{name}/explanation", &[Method::GET]),
    route(Addition::Status, "units/{name}/status", &[Method::GET]),
    route(Addition::Journal, "units/{name}/journal", &[Method::GET]),
    route(Addition::Plan, "plan", &[Method::POST]),
    route(Addition::Rebalance, "rebalance", &[Method::POST]),
    route(Addition::Cordon, "machines/{id}/cordon", &[Method::PUT]),
];

/// The resource at a path, if it supports the method.
pub fn find<R: Copy>(routes: &[Route<R>], segments: &[&str], method: &Method) -> Result<R, ErrorDocument> {
    let route = routes.iter().find(|route| route.matches(segments)).ok_or_else(path_not_found)?;
    if route.methods.contains(method) {
        return Ok(route.resource);
    }
    let methods: Vec<&str> = route.methods.iter().map(Method::as_str).collect();
    let methods = match &methods[..] {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        methods => methods.concat(),
    };
    Err(method_not_allowed(&format!("only {methods} supported against this resource")))
}

impl<R> Route<R> {
    fn matches(&self, segments: &[&str]) -> bool {
        let mut parts = self.path.split('/');
        let same = segments
            .iter()
            .all(|segment| parts.next().is_some_and(|part| part == *segment || part.starts_with('{')));
        same && parts.next().is_none()
    }
}
