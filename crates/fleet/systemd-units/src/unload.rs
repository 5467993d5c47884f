//! Unloading: the unit is down before anything of it is removed, so that its ExecStop can run to its end.

use unit_file::UnitName;

use crate::error::Error;
use crate::reread::Reread;
use crate::takes::takes;
use crate::tries::Tries;
use crate::units::Units;

impl Units {
    /// Stops the unit as [`Units::stop`] does, then removes its links, its failure and its file. systemd is not made to
    /// read its files again; whether it has to be, is told. After an error the file is still there, so that it is found
    /// and tried again. What is not there is unloaded already.
    pub async fn unload(&self, name: &UnitName) -> Result<Reread, Error> {
        let mut tries = Tries::default();
        loop {
            match self.unload_once(name).await {
                Err(error) if tries.go_on(&error).await => {}
                done => return done,
            }
        }
    }

    async fn unload_once(&self, name: &UnitName) -> Result<Reread, Error> {
        let is_known = self.0.folder.has(name) || (takes(name) && self.runs_from_here(name).await?);
        if !is_known {
            return Ok(Reread::NotNeeded);
        }
        let unit = name.clone();
        let installs = self.with_folder(move |folder| folder.installs(&unit)).await?;
        let mut leaving = None;
        if takes(name) {
            self.stop_once(name).await?;
            leaving = Some(Leaving::new(self, name));
            let session = self.systemd().await?;
            if installs {
                session.disable(name).await?;
            }
            session.reset_failed(name).await?;
        }
        let (links, unit) = (self.0.links.clone(), name.clone());
        self.with_folder(move |folder| {
            links.remove(&unit, &folder.file(&unit))?;
            folder.remove(&unit)
        })
        .await?;
        drop(leaving);
        match takes(name) && !installs && self.is_forgotten(name).await {
            true => Ok(Reread::NotNeeded),
            false => Ok(Reread::Needed),
        }
    }

    /// Whether systemd has nothing of the unit in its memory. It then has no other unit there either that wants it or
    /// is ordered by it, whatever its links said.
    async fn is_forgotten(&self, name: &UnitName) -> bool {
        let object = async { self.systemd().await?.object(name).await };
        object.await.is_ok_and(|object| object.is_none())
    }

    /// Whether systemd has the unit from a file of the folder that is not there any more. Any other unit of that name
    /// is the machine's own.
    async fn runs_from_here(&self, name: &UnitName) -> Result<bool, Error> {
        let session = self.systemd().await?;
        let Some(object) = session.object(name).await? else { return Ok(false) };
        let fragment = session.fragment(name, &object).await?;
        Ok(self.0.folder.is_own(name, &fragment))
    }
}

/// From when a unit is down until its file is removed, or that failed.
struct Leaving<'a> {
    units: &'a Units,
    name: &'a UnitName,
}

impl<'a> Leaving<'a> {
    fn new(units: &'a Units, name: &'a UnitName) -> Self {
        units.0.watchers.leave(name);
        Self { units, name }
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let stays = self.units.0.folder.has(self.name);
        self.units.0.watchers.left(self.name, stays);
    }
}
