//! Unloading: the unit is down before anything of it is removed, so that its ExecStop can run to its end.

use unit_file::UnitName;

use crate::error::Error;
use crate::need_daemon_reload::NeedDaemonReload;
use crate::retry::Retries;
use crate::supported::is_supported;
use crate::units::Units;

impl Units {
    /// Stops the unit as [`Units::stop`] does, then removes its links, its failure and its file. systemd is not made to
    /// read its files again; whether it has to be, is told. After an error the file is still there, so that it is found
    /// and tried again. What is not there is unloaded already.
    pub async fn unload(&self, name: &UnitName) -> Result<NeedDaemonReload, Error> {
        let mut retries = Retries::default();
        loop {
            match self.unload_once(name).await {
                Err(error) if retries.should_retry(&error).await => {}
                done => return done,
            }
        }
    }

    async fn unload_once(&self, name: &UnitName) -> Result<NeedDaemonReload, Error> {
        let is_known =
            self.0.directory.has(name) || (is_supported(name) && self.is_loaded_from_directory(name).await?);
        if !is_known {
            return Ok(NeedDaemonReload::No);
        }
        let unit = name.clone();
        let has_install_section =
            self.with_directory(move |directory| directory.has_install_section(&unit)).await?;
        let mut removal = None;
        if is_supported(name) {
            self.stop_once(name).await?;
            removal = Some(RemovalGuard::new(self, name));
            let session = self.session().await?;
            if has_install_section {
                session.disable(name).await?;
            }
            session.reset_failed(name).await?;
        }
        let (links, unit) = (self.0.links.clone(), name.clone());
        self.with_directory(move |directory| {
            links.remove(&unit, &directory.file(&unit))?;
            directory.remove(&unit)
        })
        .await?;
        drop(removal);
        match is_supported(name) && !has_install_section && self.is_unloaded_in_systemd(name).await {
            true => Ok(NeedDaemonReload::No),
            false => Ok(NeedDaemonReload::Yes),
        }
    }

    /// Whether systemd has nothing of the unit in its memory. It then has no other unit there either that wants it or
    /// is ordered by it, whatever its links said.
    async fn is_unloaded_in_systemd(&self, name: &UnitName) -> bool {
        let object = async { self.session().await?.unit_object(name).await };
        object.await.is_ok_and(|object| object.is_none())
    }

    /// Whether systemd has the unit from a file of the folder that is not there any more. Any other unit of that name
    /// is the machine's own.
    async fn is_loaded_from_directory(&self, name: &UnitName) -> Result<bool, Error> {
        let session = self.session().await?;
        let Some(object) = session.unit_object(name).await? else { return Ok(false) };
        let fragment = session.fragment_path(name, &object).await?;
        Ok(self.0.directory.owns_fragment(name, &fragment))
    }
}

/// From when a unit is down until its file is removed, or that failed.
struct RemovalGuard<'a> {
    units: &'a Units,
    name: &'a UnitName,
}

impl<'a> RemovalGuard<'a> {
    fn new(units: &'a Units, name: &'a UnitName) -> Self {
        units.0.watchers.begin_removal(name);
        Self { units, name }
    }
}

impl Drop for RemovalGuard<'_> {
    fn drop(&mut self) {
        let file_remains = self.units.0.directory.has(self.name);
        self.units.0.watchers.end_removal(self.name, file_remains);
    }
}
