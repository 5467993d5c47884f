//! Tokens of SoftHSM, and their keys.
//!
//! The module reads its configuration's path from the environment: each test runs in a child of its own.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use pkcs11_signer::{KeyUri, Pin, PinPrompt, PinRequest, Pkcs11Error, Pkcs11Signer, Tries};

/// Where Debian and Fedora have it.
const MODULES: [&str; 2] = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so"];
/// Where the module finds its configuration.
const CONFIGURATION: &str = "SOFTHSM2_CONF";
const FOLDER: &str = "KEELSON_TEST_SOFTHSM";

pub const PIN: &str = "271828";
pub const SO_PIN: &str = "31415926";

pub const P256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
pub const P384: &[u8] = b"\x06\x05\x2b\x81\x04\x00\x22";
pub const ED25519: &[u8] = b"\x13\x0cedwards25519";

/// SoftHSM in this process.
pub struct SoftHsm {
    pub context: Pkcs11,
    pub module: &'static str,
    pub folder: PathBuf,
}

/// A token with a PIN, and a session that is logged in.
pub struct TestToken {
    pub slot: Slot,
    pub session: Session,
}

/// Types a PIN, and counts the prompts.
pub struct Typed {
    pin: Option<&'static str>,
    pub prompts: AtomicUsize,
    pub tries: std::sync::Mutex<Option<Tries>>,
}

/// Runs `body` in a child that has no tokens yet.
pub fn with_softhsm(test: &str, body: fn(&SoftHsm)) {
    let Some(module) = MODULES.into_iter().find(|path| Path::new(path).exists()) else {
        eprintln!("SKIPPED: {test}: no libsofthsm2.so here (Debian's package softhsm2)");
        return;
    };
    if let Some(folder) = env::var_os(FOLDER) {
        let context = Pkcs11::new(module).unwrap();
        context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
        return body(&SoftHsm { context, module, folder: folder.into() });
    }
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    fs::create_dir(&tokens).unwrap();
    let configuration = folder.path().join("softhsm2.conf");
    let text = format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display());
    fs::write(&configuration, text).unwrap();
    let mut child = Command::new(env::current_exe().unwrap());
    child
        .args([test, "--exact", "--nocapture"])
        .env(CONFIGURATION, &configuration)
        .env(FOLDER, folder.path());
    let ended = child.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    // The name of no test passes, too.
    assert!(ended.status.success() && stdout.contains(" 1 passed"), "{}\n{stdout}{stderr}", ended.status);
}

impl SoftHsm {
    pub fn token(&self, label: &str) -> TestToken {
        let free = |slot: &Slot| !self.context.get_token_info(*slot).unwrap().token_initialized();
        let slot = self.context.get_slots_with_token().unwrap().into_iter().find(free).unwrap();
        let so_pin = AuthPin::new(SO_PIN.into());
        self.context.init_token(slot, &so_pin, label).unwrap();
        let session = self.context.open_rw_session(slot).unwrap();
        session.login(UserType::So, Some(&so_pin)).unwrap();
        session.init_pin(&AuthPin::new(PIN.into())).unwrap();
        session.logout().unwrap();
        session.login(UserType::User, Some(&AuthPin::new(PIN.into()))).unwrap();
        TestToken { slot, session }
    }

    /// `path` and `query` are parts of a URI with this module.
    pub fn uri(&self, path: &str, query: &str) -> KeyUri {
        format!("pkcs11:{path}?module-path={}{query}", self.module).parse().unwrap()
    }

    pub fn open(&self, path: &str) -> Result<Pkcs11Signer, Pkcs11Error> {
        Pkcs11Signer::open(&self.uri(path, ""), &Typed::pin(PIN))
    }

    /// The error of a key that must not open. None has the PIN.
    pub fn refused(&self, path: &str) -> Pkcs11Error {
        let Err(error) = self.open(path) else { panic!("{path} opened") };
        assert!(!shown(&error).contains(PIN), "{error:?}");
        error
    }
}

/// All that a user or a log can get of an error.
pub fn shown(error: &Pkcs11Error) -> String {
    format!("{} {error:?} {}", service::error::chain(error), error.hint().unwrap_or_default())
}

impl TestToken {
    pub fn ec(&self, curve: &[u8], label: &str, id: u8) -> (ObjectHandle, ObjectHandle) {
        self.pair(&Mechanism::EccKeyPairGen, &[Attribute::EcParams(curve.to_vec())], &[], label, id)
    }

    pub fn ed25519(&self, label: &str, id: u8) -> (ObjectHandle, ObjectHandle) {
        let curve = [Attribute::EcParams(ED25519.to_vec())];
        self.pair(&Mechanism::EccEdwardsKeyPairGen, &curve, &[], label, id)
    }

    pub fn rsa(&self, bits: u64, label: &str, id: u8) -> (ObjectHandle, ObjectHandle) {
        self.pair(&Mechanism::RsaPkcsKeyPairGen, &rsa_size(bits), &[], label, id)
    }

    /// A key that wants the PIN before each signature.
    pub fn always_authenticated(&self, mechanism: &Mechanism<'_>, public: &[Attribute], label: &str, id: u8) {
        self.pair(mechanism, public, &[Attribute::AlwaysAuthenticate(true)], label, id);
    }

    fn pair(
        &self,
        mechanism: &Mechanism<'_>,
        public: &[Attribute],
        private: &[Attribute],
        label: &str,
        id: u8,
    ) -> (ObjectHandle, ObjectHandle) {
        let named =
            [Attribute::Token(true), Attribute::Label(label.as_bytes().to_vec()), Attribute::Id(vec![id])];
        let public = [&named[..], &[Attribute::Private(false), Attribute::Verify(true)], public].concat();
        let secret = [Attribute::Private(true), Attribute::Sensitive(true), Attribute::Sign(true)];
        let private = [&named[..], &secret, private].concat();
        self.session.generate_key_pair(mechanism, &public, &private).unwrap()
    }

    pub fn count(&self, class: ObjectClass) -> usize {
        self.session.find_objects(&[Attribute::Class(class)]).unwrap().len()
    }
}

pub fn rsa_size(bits: u64) -> [Attribute; 2] {
    [Attribute::PublicExponent(vec![1, 0, 1]), Attribute::ModulusBits(bits.into())]
}

impl Typed {
    pub fn pin(pin: &'static str) -> Self {
        Self { pin: Some(pin), prompts: AtomicUsize::new(0), tries: std::sync::Mutex::new(None) }
    }

    /// No terminal.
    pub fn nothing() -> Self {
        Self { pin: None, ..Self::pin("") }
    }
}

impl PinPrompt for Typed {
    fn pin(&self, request: &PinRequest<'_>) -> Result<Pin, Box<dyn std::error::Error + Send + Sync>> {
        self.prompts.fetch_add(1, Ordering::Relaxed);
        *self.tries.lock().unwrap() = Some(request.tries);
        self.pin.map(|pin| Pin::new(pin.to_owned())).ok_or_else(|| "stdin is no terminal".into())
    }
}
