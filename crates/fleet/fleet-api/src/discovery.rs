//! `GET /discovery`: the API description for client generators.

/// The document of any server: `baseUrl` is `$ENDPOINT/fleet/v1/`.
pub fn discovery() -> &'static str {
    include_str!("discovery.json")
}
