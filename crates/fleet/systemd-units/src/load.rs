//! Loading: a file, its link, and what its `[Install]` section asks for.

use std::path::PathBuf;

use unit_file::{UnitFile, UnitName};

use crate::error::Error;
use crate::folder::INSTALL;
use crate::manager::Row;
use crate::reread::Reread;
use crate::session::Session;
use crate::takes::{check, takes};
use crate::units::Units;

/// A load state, as systemd names it.
const NOT_FOUND: &str = "not-found";
/// Where the files of masked units lead.
const MASK: &str = "/dev/null";

impl Units {
    /// Writes the normalised text, links it until the next boot, and enables it where it has an `[Install]` section.
    /// systemd is not made to read all its files again; whether it has to be, is told. It has not for a unit that is new
    /// to it, once that was looked for by [`Units::find`]. With an `[Install]` section it has: what that makes want the
    /// unit is known to systemd already. What cannot be done as a whole is undone: there is no file then, or the one
    /// from before.
    ///
    /// # Errors
    /// [`Error::Clash`] where this machine has a unit of that name by itself, which is left alone.
    pub async fn load(&self, name: &UnitName, file: &UnitFile) -> Result<Reread, Error> {
        check(name)?;
        let session = self.systemd().await?;
        let row = session.rows(&[name]).await?.pop();
        let was_known = row.as_ref().is_none_or(|row| row.state.load != NOT_FOUND);
        if let Some(row) = row
            && let Some(path) = self.clash(&session, name, row).await?
        {
            return Err(Error::Clash { unit: name.clone(), path });
        }
        let before = self.write(name, file).await?;
        let is_new = !was_known && before.is_none();
        let linked = self.link(&session, name, file).await;
        if linked.is_err() {
            self.undo(&session, name, before).await;
        }
        linked?;
        Ok(if is_new && !file.has_section(INSTALL) { Reread::NotNeeded } else { Reread::Needed })
    }

    /// systemd finds files that are new to it. It looks for what it does not know where one of its folders has changed
    /// since its last look, by the times that folders carry: of two changes within a tick of the clock it may have seen
    /// the first only. Where one is not found, it reads all files again.
    pub async fn find(&self, names: &[UnitName]) -> Result<(), Error> {
        let session = self.systemd().await?;
        let rows = session.rows(&names.iter().filter(|name| takes(name)).collect::<Vec<_>>()).await?;
        // One whose text systemd cannot use was found as well: to read it again is no help.
        match rows.iter().any(|row| row.state.load == NOT_FOUND) {
            true => session.reload().await,
            false => Ok(()),
        }
    }

    /// The file of the unit that has the name already.
    async fn clash(&self, session: &Session, name: &UnitName, row: Row) -> Result<Option<PathBuf>, Error> {
        if row.state.load == NOT_FOUND && row.state.is_down() {
            return Ok(None);
        }
        let fragment = session.fragment(name, &row.object).await?;
        if self.0.folder.is_own(name, &fragment) {
            return Ok(None);
        }
        if row.state.load == "masked" {
            return Ok(Some(if fragment.as_os_str().is_empty() { MASK.into() } else { fragment }));
        }
        let same_name = fragment.file_name().is_some_and(|file_name| file_name == name.as_str());
        // An instance of a template may have a file of its own, but not while the template's runs.
        let runs = !fragment.as_os_str().is_empty() && !row.state.is_down();
        Ok((same_name || runs).then_some(fragment))
    }

    /// What was there before.
    async fn write(&self, name: &UnitName, file: &UnitFile) -> Result<Option<Vec<u8>>, Error> {
        let (name, text) = (name.clone(), file.normalised());
        self.with_folder(move |folder| {
            let before = folder.content(&name)?;
            folder.write(&name, text.as_bytes())?;
            Ok(before)
        })
        .await
    }

    async fn link(&self, session: &Session, name: &UnitName, file: &UnitFile) -> Result<(), Error> {
        let (links, unit) = (self.0.links.clone(), name.clone());
        self.with_folder(move |folder| links.make(&unit, &folder.file(&unit))).await?;
        if !file.has_section(INSTALL) {
            return Ok(());
        }
        let refused = match session.enable(name).await {
            Ok(true) => return Ok(()),
            Ok(false) => Error::NothingToEnable,
            Err(error) => error,
        };
        Err(Error::Enable { unit: name.clone(), source: Box::new(refused) })
    }

    /// A unit that was loaded before may run, so its file stays: who reads the folder has to know of it.
    async fn undo(&self, session: &Session, name: &UnitName, before: Option<Vec<u8>>) {
        if before.is_none()
            && let Err(error) = session.disable(name).await
        {
            tracing::warn!("links to {name} may be left behind: {error}");
        }
        let (links, unit) = (self.0.links.clone(), name.clone());
        let undone = self.with_folder(move |folder| match before {
            Some(content) => folder.write(&unit, &content),
            None => {
                links.remove(&unit, &folder.file(&unit))?;
                folder.remove(&unit)
            }
        });
        if let Err(error) = undone.await {
            tracing::warn!("the file of {name} may be left behind: {error}");
        }
    }
}
