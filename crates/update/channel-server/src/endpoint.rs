//! What the server does at its paths.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// Omaha.
    Update,
    File,
    Metadata,
    Target,
    /// A list of Vagrant boxes.
    Catalog,
    Image,
    Health,
    Config,
    Metrics,
    Role,
    Events,
    View(View),
    UploadedFiles,
    Upload,
    UploadedImages,
    UploadImage,
    Roots,
    Targets,
    Change(Change),
}

/// Parts of the state that `/api` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    Overview,
    Activity,
    Apps,
    App,
    Channels,
    Channel,
    Packages,
    Groups,
    Group,
    Timeline,
    VersionBreakdown,
    InstancesStats,
    InstancesCount,
    GroupInstances,
    Instances,
    Instance,
    StatusHistory,
}

/// Changes with a JSON body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    SetApp,
    PointChannel,
    RemoveChannel,
    Promote,
    AddFloor,
    RemoveFloor,
    SetGroup,
    RemoveGroup,
    SetPolicy,
    Pause,
    Resume,
    Publish,
    PublishImages,
    RemovePackage,
    Ban,
    Unban,
    PublishMetadata,
    NameInstance,
    ForgetInstance,
    ResetInstance,
}
