//! Unloads units. Nothing is removed before the unit is down, so that `ExecStop=` can finish.

use unit_file::UnitName;

use crate::error::Error;
use crate::need_daemon_reload::NeedDaemonReload;
use crate::retry::Retries;
use crate::supported::is_supported;
use crate::units::Units;

impl Units {
    /// Stops the unit like [`Units::stop`], then removes its links, failed state and file. Does not make systemd
    /// reload; returns whether it must. After an error the file still exists, so that the unit is found and tried
    /// again. Succeeds for a unit that does not exist.
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

    /// Whether systemd has unloaded the unit. Then no loaded unit wants it or is ordered after it.
    async fn is_unloaded_in_systemd(&self, name: &UnitName) -> bool {
        let object = async { self.session().await?.unit_object(name).await };
        object.await.is_ok_and(|object| object.is_none())
    }

    /// Whether systemd has the unit from a removed file of this directory. Any other unit of that name belongs to the
    /// machine.
    async fn is_loaded_from_directory(&self, name: &UnitName) -> Result<bool, Error> {
        let session = self.session().await?;
        let Some(object) = session.unit_object(name).await? else { return Ok(false) };
        let fragment = session.fragment_path(name, &object).await?;
        Ok(self.0.directory.owns_fragment(name, &fragment))
    }
}

/// From when a unit is down until its file is removed, or that has failed.
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
