//! `GET /discovery`: what the API offers, in the form that generators of clients read.

/// The document, for any server: its `baseUrl` is `$ENDPOINT/fleet/v1/`.
pub fn discovery() -> &'static str {
    include_str!("discovery.json")
}
