//! PKCS#11 modules: shared libraries that talk to tokens. They run in this process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11};
use cryptoki::error::{Error, RvError};

use crate::error::Cause;
use crate::uri::Module;

/// Where distributions install modules.
const FOLDERS: [&str; 9] = [
    "/usr/lib/x86_64-linux-gnu/pkcs11",
    "/usr/lib/aarch64-linux-gnu/pkcs11",
    "/usr/lib64/pkcs11",
    "/usr/lib/pkcs11",
    "/usr/lib/softhsm",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
];
/// Initialized modules. A module is initialized once per process, and remains loaded: it may have threads.
static LOADED: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());

/// Where the module is.
pub(crate) fn find(module: Option<&Module>) -> Result<PathBuf, Cause> {
    match module {
        None => Err(Cause::NoModule),
        Some(Module::Path(path)) if path.is_file() => Ok(path.clone()),
        Some(Module::Path(path)) => Err(Cause::ModuleMissing(path.clone())),
        Some(Module::Name(name)) => {
            let files = [format!("lib{name}.so"), format!("{name}.so")];
            let paths =
                FOLDERS.iter().flat_map(|folder| files.iter().map(|file| Path::new(folder).join(file)));
            let unknown = || Cause::ModuleUnknown { name: name.clone(), folders: FOLDERS.to_vec() };
            paths.into_iter().find(|path| path.is_file()).ok_or_else(unknown)
        }
    }
}

/// Loads and initializes a module.
pub(crate) fn load(path: &Path) -> Result<Pkcs11, Cause> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(context) = loaded.get(path) {
        return Ok(context.clone());
    }
    let context = Pkcs11::new(path).map_err(|source| Cause::Load { module: path.to_owned(), source })?;
    match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        // Under another path, or by another user of the module in this process.
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, Function::Initialize)) => {}
        Err(source) => return Err(Cause::Initialize { module: path.to_owned(), source }),
    }
    loaded.insert(path.to_owned(), context.clone());
    Ok(context)
}
