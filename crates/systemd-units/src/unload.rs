//! Unloading: the unit is down before anything of it is removed, so that its ExecStop can run to its end.

use unit_file::UnitName;

use crate::error::Error;
use crate::takes::takes;
use crate::tries::Tries;
use crate::units::Units;

impl Units {
    /// Stops the unit as [`Units::stop`] does, then removes its links, its failure and its file. systemd is not made to
    /// read its files again. After an error the file is still there, so that it is found and tried again. What is not
    /// there is unloaded already.
    pub async fn unload(&self, name: &UnitName) -> Result<(), Error> {
        let mut tries = Tries::default();
        loop {
            match self.unload_once(name).await {
                Err(error) if tries.go_on(&error).await => {}
                done => return done,
            }
        }
    }

    async fn unload_once(&self, name: &UnitName) -> Result<(), Error> {
        let is_known = self.0.folder.has(name) || (takes(name) && self.runs_from_here(name).await?);
        if !is_known {
            return Ok(());
        }
        if takes(name) {
            self.stop_once(name).await?;
            let session = self.systemd().await?;
            session.disable(name).await?;
            session.reset_failed(name).await?;
        }
        let unit = name.clone();
        self.with_folder(move |folder| folder.remove(&unit)).await?;
        self.0.watchers.forget(name);
        Ok(())
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
