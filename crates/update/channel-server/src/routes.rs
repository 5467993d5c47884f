//! The operations with their methods and paths. `docs/reference/api/channel-server.yaml` describes each.

use hyper::Method;

use crate::endpoint::{Change, Endpoint, View};

/// An operation.
#[derive(Debug)]
pub struct Route {
    pub method: Method,
    /// `{NAME}` is any segment.
    pub path: &'static str,
    /// Whether this is a second path of an operation.
    pub is_alias: bool,
    endpoint: Endpoint,
}

const fn route(method: Method, path: &'static str, endpoint: Endpoint) -> Route {
    Route { method, path, is_alias: false, endpoint }
}

const fn view(path: &'static str, view: View) -> Route {
    route(Method::GET, path, Endpoint::View(view))
}

const fn change(method: Method, path: &'static str, change: Change) -> Route {
    route(method, path, Endpoint::Change(change))
}

const fn alias(method: Method, path: &'static str, endpoint: Endpoint) -> Route {
    Route { method, path, is_alias: true, endpoint }
}

const APP: &str = "/api/apps/{app}";
const CHANNEL: &str = "/api/apps/{app}/channels/{channel}";
const FLOOR: &str = "/api/apps/{app}/channels/{channel}/floors/{version}";
const GROUP: &str = "/api/apps/{app}/groups/{group}";
const PACKAGES: &str = "/api/apps/{app}/packages";
const BAN: &str = "/api/apps/{app}/packages/{version}/ban";
const KEYS: &str = "/api/apps/{app}/keys";
const INSTANCE: &str = "/api/apps/{app}/instances/{machine}";

/// Those of GET are also operations of HEAD. Other paths are files of the page.
pub static ROUTES: [Route; 58] = [
    route(Method::POST, "/v1/update", Endpoint::Update),
    alias(Method::POST, "/v1/update/", Endpoint::Update),
    route(Method::GET, "/files/{app}/metadata/{file}", Endpoint::Metadata),
    route(Method::GET, "/files/{app}/targets/releases/{board}/{version}/{file}", Endpoint::Target),
    route(Method::GET, "/files/{app}/targets/channels/{group}/{file}", Endpoint::Target),
    route(Method::GET, "/files/{app}/{group}/{version}/{name}", Endpoint::File),
    route(Method::GET, "/images/{channel}/{board}/{file}", Endpoint::Catalog),
    route(Method::GET, "/images/{channel}/{board}/{version}/{file}", Endpoint::Image),
    route(Method::GET, "/health", Endpoint::Health),
    route(Method::GET, "/config", Endpoint::Config),
    route(Method::GET, "/metrics", Endpoint::Metrics),
    route(Method::GET, "/api/role", Endpoint::Role),
    view("/api/overview", View::Overview),
    route(Method::GET, "/api/events", Endpoint::Events),
    view("/api/activity", View::Activity),
    view("/api/apps", View::Apps),
    change(Method::POST, "/api/apps", Change::SetApp),
    view(APP, View::App),
    view("/api/apps/{app}/channels", View::Channels),
    view(CHANNEL, View::Channel),
    change(Method::PUT, CHANNEL, Change::PointChannel),
    change(Method::DELETE, CHANNEL, Change::RemoveChannel),
    change(Method::POST, "/api/apps/{app}/channels/{channel}/promote", Change::Promote),
    change(Method::PUT, FLOOR, Change::AddFloor),
    change(Method::DELETE, FLOOR, Change::RemoveFloor),
    view("/api/apps/{app}/groups", View::Groups),
    view(GROUP, View::Group),
    change(Method::PUT, GROUP, Change::SetGroup),
    change(Method::DELETE, GROUP, Change::RemoveGroup),
    change(Method::PUT, "/api/apps/{app}/groups/{group}/policy", Change::SetPolicy),
    change(Method::POST, "/api/apps/{app}/groups/{group}/pause", Change::Pause),
    change(Method::POST, "/api/apps/{app}/groups/{group}/resume", Change::Resume),
    view("/api/apps/{app}/groups/{group}/timeline", View::Timeline),
    alias(Method::GET, "/api/apps/{app}/groups/{group}/version_timeline", Endpoint::View(View::Timeline)),
    alias(Method::GET, "/api/apps/{app}/groups/{group}/status_timeline", Endpoint::View(View::Timeline)),
    view("/api/apps/{app}/groups/{group}/version_breakdown", View::VersionBreakdown),
    view("/api/apps/{app}/groups/{group}/instances_stats", View::InstancesStats),
    view("/api/apps/{app}/groups/{group}/instancescount", View::InstancesCount),
    view("/api/apps/{app}/groups/{group}/instances", View::GroupInstances),
    view(PACKAGES, View::Packages),
    change(Method::POST, PACKAGES, Change::Publish),
    change(Method::DELETE, "/api/apps/{app}/packages/{version}", Change::RemovePackage),
    change(Method::POST, "/api/apps/{app}/packages/{version}/images", Change::PublishImages),
    change(Method::POST, BAN, Change::Ban),
    change(Method::DELETE, BAN, Change::Unban),
    route(Method::GET, "/api/apps/{app}/uploads/{arch}/{version}", Endpoint::UploadedFiles),
    route(Method::PUT, "/api/apps/{app}/uploads/{arch}/{version}/{name}", Endpoint::Upload),
    route(Method::GET, "/api/apps/{app}/images/{arch}/{version}", Endpoint::UploadedImages),
    route(Method::PUT, "/api/apps/{app}/images/{arch}/{version}/{name}", Endpoint::UploadImage),
    route(Method::GET, KEYS, Endpoint::Roots),
    change(Method::POST, KEYS, Change::PublishMetadata),
    route(Method::GET, "/api/apps/{app}/keys/targets", Endpoint::Targets),
    view("/api/apps/{app}/instances", View::Instances),
    view(INSTANCE, View::Instance),
    change(Method::PUT, INSTANCE, Change::NameInstance),
    change(Method::DELETE, INSTANCE, Change::ForgetInstance),
    view("/api/apps/{app}/instances/{machine}/status_history", View::StatusHistory),
    change(Method::POST, "/api/apps/{app}/instances/{machine}/reset", Change::ResetInstance),
];

/// Whether a request of this method changes nothing.
pub fn is_read(method: &Method) -> bool {
    [Method::GET, Method::HEAD].contains(method)
}

/// The operation at a path, with the values of its parameters.
pub fn find<'a>(method: &Method, segments: &[&'a str]) -> Option<(Endpoint, Vec<&'a str>)> {
    let method = if is_read(method) { &Method::GET } else { method };
    let mut of_method = ROUTES.iter().filter(|route| route.method == *method);
    of_method.find_map(|route| Some((route.endpoint, route.parameters(segments)?)))
}

/// A method that the path has.
pub fn other_method(segments: &[&str]) -> Option<&'static Method> {
    ROUTES.iter().find(|route| route.parameters(segments).is_some()).map(|route| &route.method)
}

impl Route {
    /// The values of the parameters, if the path is this one.
    fn parameters<'a>(&self, segments: &[&'a str]) -> Option<Vec<&'a str>> {
        let mut parameters = Vec::new();
        let mut parts = self.path.split('/').skip(1);
        for segment in segments {
            match parts.next()? {
                part if part.starts_with('{') => parameters.push(*segment),
                part if part == *segment => {}
                _ => return None,
            }
        }
        parts.next().is_none().then_some(parameters)
    }
}
