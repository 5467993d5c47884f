//! Loading: a file, its link, and what its `[Install]` section asks for.

use std::path::PathBuf;

use unit_file::{UnitFile, UnitName};

use crate::error::Error;
use crate::manager::UnitStatus;
use crate::need_daemon_reload::NeedDaemonReload;
use crate::session::Session;
use crate::supported::{check_supported, is_supported};
use crate::unit_directory::INSTALL;
use crate::units::Units;

/// A load state, as systemd names it.
const NOT_FOUND: &str = "not-found";
/// Where the files of masked units lead.
const NULL_FILE: &str = "/dev/null";

impl Units {
    /// Writes the normalised text, links it until the next boot, and enables it where it has an `[Install]` section.
    /// systemd is not made to read all its files again; whether it has to be, is told. It has not for a unit that is new
    /// to it, once that was looked for by [`Units::discover`]. With an `[Install]` section it has: what that makes want the
    /// unit is known to systemd already. What cannot be done as a whole is undone: there is no file then, or the one
    /// from before.
    ///
    /// # Errors
    /// [`Error::NameConflict`] where this machine has a unit of that name by itself, which is left alone.
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

    /// systemd finds files that are new to it. It looks for what it does not know where one of its folders has changed
    /// since its last look, by the times that folders carry: of two changes within a tick of the clock it may have seen
    /// the first only. Where one is not found, it reads all files again.
    pub async fn discover(&self, names: &[UnitName]) -> Result<(), Error> {
        let session = self.session().await?;
        let statuses =
            session.list_units(&names.iter().filter(|name| is_supported(name)).collect::<Vec<_>>()).await?;
        // One whose text systemd cannot use was found as well: to read it again is no help.
        match statuses.iter().any(|unit| unit.state.load == NOT_FOUND) {
            true => session.daemon_reload().await,
            false => Ok(()),
        }
    }

    /// The file of the unit that has the name already.
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
        // An instance of a template may have a file of its own, but not while the template's runs.
        let runs = !fragment.as_os_str().is_empty() && !unit.state.is_down();
        Ok((same_name || runs).then_some(fragment))
    }

    /// What was there before.
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

    /// A unit that was loaded before may run, so its file stays: who reads the directory has to know of it.
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
