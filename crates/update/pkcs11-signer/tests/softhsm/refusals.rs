//! Modules that are none. These need no SoftHSM.

use pkcs11_signer::{Cause, KeyUri, Pkcs11Error, Pkcs11Signer};

use crate::tokens::{Typed, shown};

fn refused(query: &str) -> Pkcs11Error {
    let uri: KeyUri = format!("pkcs11:token=safe{query}").parse().unwrap();
    match Pkcs11Signer::open(&uri, &Typed::nothing()) {
        Ok(_) => panic!("{uri} opened"),
        Err(error) => error,
    }
}

#[test]
fn a_missing_module_is_reported_with_its_package() {
    let error = refused("?module-path=/usr/lib/none/libykcs11.so");
    assert!(matches!(error.cause(), Cause::ModuleMissing(_)), "{error:?}");
    let text = shown(&error);
    assert!(text.contains("/usr/lib/none/libykcs11.so") && text.contains("apt-get install ykcs11"), "{text}");
    let error = refused("?module-name=none-of-this-name");
    assert!(matches!(error.cause(), Cause::ModuleUnknown { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("module-path"), "{error:?}");
    let error = refused("");
    assert!(matches!(error.cause(), Cause::NoModule), "{error:?}");
    assert!(error.hint().unwrap().contains("libsofthsm2.so (softhsm2)"), "{error:?}");
}

#[test]
fn a_file_that_is_no_module_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.so");
    std::fs::write(&text, "no library").unwrap();
    let empty = folder.path().join("empty.so");
    std::fs::write(&empty, "").unwrap();
    // A library, whose functions are others.
    let libc = std::fs::read_to_string("/proc/self/maps").unwrap();
    let libc =
        libc.lines().find_map(|line| line.split_once('/').filter(|(_, path)| path.contains("libc.so")));
    let libc = format!("/{}", libc.unwrap().1);
    for path in [text.to_str().unwrap(), empty.to_str().unwrap(), &libc] {
        let error = refused(&format!("?module-path={path}"));
        assert!(matches!(error.cause(), Cause::Load { .. }), "{error:?}");
        assert!(shown(&error).contains(path), "{}", shown(&error));
    }
    let folder = refused(&format!("?module-path={}", folder.path().display()));
    assert!(matches!(folder.cause(), Cause::ModuleMissing(_)), "{folder:?}");
}
