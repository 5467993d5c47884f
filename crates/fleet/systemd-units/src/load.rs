//! Loads units: file, link, and `[Install]` section.

use std::path::PathBuf;

use unit_file::{UnitFile, UnitName};

use crate::error::Error;
use crate::manager::UnitStatus;
use crate::need_daemon_reload::NeedDaemonReload;
use crate::session::Session;
use crate::supported::{check_supported, is_supported};
use crate::unit_directory::INSTALL;
use crate::units::Units;

/// systemd's LoadState.
const NOT_FOUND: &str = "not-found";
/// Target of masked units.
const NULL_FILE: &str = "/dev/null";

impl Units {
    /// Writes the normalized unit file, links it until the next boot, and enables it if it has an `[Install]`
    /// section. Does not make systemd reload; returns whether it must. It need not for a unit that systemd does not
    /// know, after [`Units::discover`]. With an `[Install]` section it must, since systemd already knows the units
    /// that want it. A failure is rolled back to the previous file, or none.
    ///
    /// # Errors
    /// [`Error::NameConflict`] if the machine has a unit of that name itself, which is not changed.
    pub async fn load(&self, name: &UnitName, file: &UnitFile) -> Result<NeedDaemonReload, Error> {
        check_supported(name)?;
        let session = self.session().await?;
        let unit = session.list_units(&[name]).await?.pop();
        let was_known = unit.as_ref().is_none_or(|unit| unit.state.load != NOT_FOUND);
        if let Some(unit) = unit
            && let Some(path) = self.conflicting_file(&session, name, unit).await?
        {
            return Err(Error::NameConflict { unit: name.clone(), path });
        }
        let previous = self.write(name, file).await?;
        let is_new = !was_known && previous.is_none();
        let linked = self.link(&session, name, file).await;
        if linked.is_err() {
            self.roll_back(&session, name, previous).await;
        }
        linked?;
        Ok(if is_new && !file.has_section(INSTALL) { NeedDaemonReload::No } else { NeedDaemonReload::Yes })
    }

    /// Makes systemd find new unit files. systemd rescans directories whose mtime has changed since its last scan, so
    /// it may miss the second of two changes within one clock tick. If a unit is not found, this reloads all files.
    pub async fn discover(&self, names: &[UnitName]) -> Result<(), Error> {
        let session = self.session().await?;
        let statuses =
            session.list_units(&names.iter().filter(|name| is_supported(name)).collect::<Vec<_>>()).await?;
        // A unit whose file is invalid was found: a reload would not help.
        match statuses.iter().any(|unit| unit.state.load == NOT_FOUND) {
            true => session.daemon_reload().await,
            false => Ok(()),
        }
    }

    /// The file of an existing unit with this name.
    async fn conflicting_file(
        &self,
        session: &Session,
        name: &UnitName,
        unit: UnitStatus,
    ) -> Result<Option<PathBuf>, Error> {
        if unit.state.load == NOT_FOUND && unit.state.is_down() {
            return Ok(None);
        }
        let fragment = session.fragment_path(name, &unit.object).await?;
        if self.0.directory.owns_fragment(name, &fragment) {
            return Ok(None);
        }
        if unit.state.load == "masked" {
            return Ok(Some(if fragment.as_os_str().is_empty() { NULL_FILE.into() } else { fragment }));
        }
        let same_name = fragment.file_name().is_some_and(|file_name| file_name == name.as_str());
        // An instance may have its own file, unless the template's instance runs.
        let runs = !fragment.as_os_str().is_empty() && !unit.state.is_down();
        Ok((same_name || runs).then_some(fragment))
    }

    /// Returns the previous content.
    async fn write(&self, name: &UnitName, file: &UnitFile) -> Result<Option<Vec<u8>>, Error> {
        let (name, text) = (name.clone(), file.normalised());
        self.with_directory(move |directory| {
            let previous = directory.content(&name)?;
            directory.write(&name, text.as_bytes())?;
            Ok(previous)
        })
        .await
    }

    async fn link(&self, session: &Session, name: &UnitName, file: &UnitFile) -> Result<(), Error> {
        let (links, unit) = (self.0.links.clone(), name.clone());
        self.with_directory(move |directory| links.create(&unit, &directory.file(&unit))).await?;
        if !file.has_section(INSTALL) {
            return Ok(());
        }
        let error = match session.enable(name).await {
            Ok(true) => return Ok(()),
            Ok(false) => Error::NothingToEnable,
            Err(error) => error,
        };
        Err(Error::Enable { unit: name.clone(), source: Box::new(error) })
    }

    /// A previously loaded unit may run, so its file is restored for [`Units::list_unit_files`].
    async fn roll_back(&self, session: &Session, name: &UnitName, previous: Option<Vec<u8>>) {
        if previous.is_none()
            && let Err(error) = session.disable(name).await
        {
            tracing::warn!("links to {name} may be left behind: {error}");
        }
        let (links, unit) = (self.0.links.clone(), name.clone());
        let rolled_back = self.with_directory(move |directory| match previous {
            Some(content) => directory.write(&unit, &content),
            None => {
                links.remove(&unit, &directory.file(&unit))?;
                directory.remove(&unit)
            }
        });
        if let Err(error) = rolled_back.await {
            tracing::warn!("the file of {name} may be left behind: {error}");
        }
    }
}
