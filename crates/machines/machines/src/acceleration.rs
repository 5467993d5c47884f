//! Determines whether guests run on KVM by booting one.
//!
//! The probe guest is the firmware: with a working KVM its boot manager runs within a second. On some nested hosts
//! `/dev/kvm` opens but guests fail (an unsettable MSR, an instruction that cannot be emulated); there machines are
//! emulated. The verdict is cached per boot of the host.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::backend::BackendError;
use crate::firmware;
use crate::limits;
use crate::store::{read_limited, replace};
use crate::tools::Tools;

pub use crate::processor::Acceleration;

/// Environment variable that overrides the probe: `kvm` or `tcg`.
pub const OVERRIDE: &str = "KEELSON_ACCELERATION";
/// The boot manager prints its name when it looks for a boot device.
const BOOT_MESSAGE: &[u8] = b"BdsDxe";
/// QEMU's message when KVM fails.
const KVM_ERROR: &str = "KVM internal error";

#[derive(Debug, Serialize, Deserialize)]
struct Verdict {
    boot_id: String,
    #[serde(flatten)]
    acceleration: Acceleration,
}

/// The verdict for this boot of the host, cached in `folder` or from a probe. `folder` must be visible to the tools.
pub fn decide(tools: &Tools, folder: &Path) -> Result<Acceleration, BackendError> {
    match std::env::var(OVERRIDE).as_deref() {
        Ok("kvm") => return Ok(Acceleration::Kvm),
        Ok("tcg") => return Ok(Acceleration::Tcg { reason: format!("set by {OVERRIDE}") }),
        _ => {}
    }
    let made = |path: &Path, source| BackendError::Make { path: path.to_path_buf(), source };
    let boot_file = Path::new("/proc/sys/kernel/random/boot_id");
    let boot_id = std::fs::read_to_string(boot_file).map_err(|source| made(boot_file, source))?;
    let cache = folder.join("acceleration.json");
    if let Some(known) = cached(&cache, boot_id.trim()) {
        return Ok(known);
    }
    let acceleration = match File::options().read(true).write(true).open("/dev/kvm") {
        Ok(_) => probe(tools, folder)?,
        Err(error) => Acceleration::Tcg { reason: format!("cannot open /dev/kvm: {error}") },
    };
    let verdict = Verdict { boot_id: boot_id.trim().to_owned(), acceleration };
    let text = serde_json::to_vec(&verdict).map_err(|error| made(&cache, error.into()))?;
    replace(&cache, &text).map_err(|source| made(&cache, source))?;
    Ok(verdict.acceleration)
}

fn cached(cache: &Path, boot_id: &str) -> Option<Acceleration> {
    let verdict: Verdict = serde_json::from_slice(&read_limited(cache, 4096).ok()?).ok()?;
    (verdict.boot_id == boot_id).then_some(verdict.acceleration)
}

struct Probe {
    child: Child,
    serial: PathBuf,
    errors: PathBuf,
}

fn probe(tools: &Tools, folder: &Path) -> Result<Acceleration, BackendError> {
    let made = |source| BackendError::Make { path: folder.to_path_buf(), source };
    std::fs::create_dir_all(folder).map_err(made)?;
    let folder = tempfile::Builder::new().prefix("probe-").tempdir_in(folder).map_err(made)?;
    let variables = folder.path().join("variables.fd");
    firmware::copy_variables(tools, &variables)?;
    let (serial, errors) = (folder.path().join("serial"), folder.path().join("errors"));
    let mut command = tools.command("qemu-system-x86_64")?;
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", "-m", "256"]);
    command.args(Acceleration::Kvm.arguments());
    command
        .args(["-drive", &format!("if=pflash,unit=0,format=raw,readonly=on,file={}", firmware::code(false))]);
    command.args(["-drive", &format!("if=pflash,unit=1,format=raw,file={}", variables.display())]);
    command.args(["-serial", &format!("file:{}", serial.display())]);
    let output = File::create(&errors).map_err(made)?;
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output)
        .spawn()
        .map_err(|source| BackendError::Run("qemu-system-x86_64", source))?;
    let mut probe = Probe { child, serial, errors };
    let verdict = probe.watch(limits::PROBE);
    probe.end()?;
    Ok(verdict)
}

impl Probe {
    fn watch(&mut self, limit: Duration) -> Acceleration {
        let deadline = Instant::now() + limit;
        loop {
            let serial = read_limited(&self.serial, limits::TAIL_BYTES).unwrap_or_default();
            if serial.windows(BOOT_MESSAGE.len()).any(|window| window == BOOT_MESSAGE) {
                return Acceleration::Kvm;
            }
            let ended = !matches!(self.child.try_wait(), Ok(None));
            let errors = read_limited(&self.errors, limits::TAIL_BYTES).unwrap_or_default();
            let errors = String::from_utf8_lossy(&errors);
            if ended || errors.contains(KVM_ERROR) {
                let first = errors.lines().next().unwrap_or("QEMU exited without a message");
                let message = first.trim_start_matches("qemu-system-x86_64: ").trim_start_matches("error: ");
                return Acceleration::Tcg { reason: format!("/dev/kvm does not run guests: {message}") };
            }
            if Instant::now() > deadline {
                let seconds = limit.as_secs();
                return Acceleration::Tcg {
                    reason: format!(
                        "/dev/kvm does not run guests: no output of the probe guest in {seconds} s"
                    ),
                };
            }
            // QEMU writes the files; polling every few milliseconds ends the probe promptly.
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn end(&mut self) -> Result<(), BackendError> {
        let failed = |source| BackendError::Run("qemu-system-x86_64", source);
        self.child.kill().map_err(failed)?;
        self.child.wait().map_err(failed)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_valid_for_one_boot_of_the_host() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("a.json");
        assert_eq!(cached(&cache, "x"), None);
        let tcg = Acceleration::Tcg { reason: "w".into() };
        let verdict = Verdict { boot_id: "x".into(), acceleration: tcg.clone() };
        std::fs::write(&cache, serde_json::to_vec(&verdict).unwrap()).unwrap();
        assert_eq!(cached(&cache, "x"), Some(tcg));
        assert_eq!(cached(&cache, "y"), None);
        std::fs::write(&cache, b"{").unwrap();
        assert_eq!(cached(&cache, "x"), None);
    }

    /// A substitute for QEMU: a shell script with the serial file as $1.
    fn verdict(script: &str, limit: Duration) -> Acceleration {
        let folder = tempfile::tempdir().unwrap();
        let (serial, errors) = (folder.path().join("serial"), folder.path().join("errors"));
        let mut command = std::process::Command::new("sh");
        command.args(["-c", script, "qemu"]).arg(&serial).stdin(Stdio::null());
        let child = command.stderr(File::create(&errors).unwrap()).spawn().unwrap();
        let mut probe = Probe { child, serial, errors };
        let verdict = probe.watch(limit);
        probe.end().unwrap();
        verdict
    }

    #[test]
    fn a_kvm_that_cannot_run_guests_is_not_used() {
        let long = Duration::from_secs(60);
        let check = |script: &str, limit: Duration, expect: &str| {
            let Acceleration::Tcg { reason } = verdict(script, limit) else { panic!("{script}") };
            assert_eq!(reason, format!("/dev/kvm does not run guests: {expect}"));
        };
        let msr = "failed to set MSR 0x10a to 0xc000069";
        check(&format!("echo 'qemu-system-x86_64: error: {msr}' >&2; exit 1"), long, msr);
        check("exit 1", long, "QEMU exited without a message");
        // QEMU keeps running with a halted guest.
        let gave_up = "KVM internal error. Suberror: 1";
        check(&format!("echo '{gave_up}' >&2; exec sleep 600"), long, gave_up);
        check("exec sleep 600", Duration::from_secs(1), "no output of the probe guest in 1 s");
        let boots = "printf 'BdsDxe: failed to load Boot0001' >$1; exec sleep 600";
        assert_eq!(verdict(boots, long), Acceleration::Kvm);
    }
}
