//! Signs images for Secure Boot with a test key.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use image::enrolment::SigningKey;
use machines::tools::Tools;

use crate::failure::{Failure, expect};
use crate::scenario::Run;

/// The key's folder, next to the clusters'.
const FOLDER: &str = "test-signing";

/// Returns the key, generated once for all runs: the image signed with it is then built once too.
pub(crate) fn key(run: &Run) -> Result<SigningKey, Failure> {
    let folder = run.state.join(FOLDER);
    let at = |folder: &Path| SigningKey { key: folder.join("key.pem"), certificate: folder.join("key.crt") };
    if !folder.exists() {
        let unfinished = run.state.join(format!("{FOLDER}-{}", std::process::id()));
        let failed = |source| Failure::Disk { path: unfinished.clone(), source };
        std::fs::create_dir_all(&unfinished).map_err(failed)?;
        let SigningKey { key, certificate } = at(&unfinished);
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650"]);
        openssl.args(["-subj", "/CN=Secure Boot of Keelson's tests", "-keyout"]).arg(key);
        let Ok(output) = openssl.arg("-out").arg(certificate).stdin(Stdio::null()).output() else {
            std::fs::remove_dir_all(&unfinished).map_err(failed)?;
            return Err(Failure::Unavailable("this host has no openssl to make a key with".to_owned()));
        };
        expect(output.status.success(), "a key", &String::from_utf8_lossy(&output.stderr))?;
        // A concurrent run may have created it first: one of the two is kept.
        if std::fs::rename(&unfinished, &folder).is_err() {
            std::fs::remove_dir_all(&unfinished).map_err(failed)?;
        }
    }
    Ok(at(&folder))
}

/// Removes a boot image's invalidated signature, and signs it again if there is a key.
pub(crate) fn sign_again(run: &Run, file: &Path, key: Option<&SigningKey>) -> Result<(), Failure> {
    let key_folder = key.and_then(|key| key.key.parent());
    let shared: Vec<PathBuf> = file.parent().into_iter().chain(key_folder).map(Path::to_owned).collect();
    let tools =
        Tools::open(&run.image.tools, &shared).map_err(|error| Failure::Expected(error.to_string()))?;
    let with = |program: &str, arguments: &[&std::ffi::OsStr]| {
        let mut command = tools.command(program).map_err(|error| Failure::Expected(error.to_string()))?;
        let output = command.args(arguments).stdin(Stdio::null()).output();
        let output = output.map_err(|source| Failure::Disk { path: program.into(), source })?;
        expect(output.status.success(), program, &String::from_utf8_lossy(&output.stderr))
    };
    with("sbattach", &["--remove".as_ref(), file.as_os_str()])?;
    let Some(SigningKey { key, certificate }) = key else { return Ok(()) };
    let [key, certificate, file] = [key.as_path(), certificate, file].map(Path::as_os_str);
    with("sbsign", &["--key".as_ref(), key, "--cert".as_ref(), certificate, "--output".as_ref(), file, file])
}
