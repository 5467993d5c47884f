//! Debian's packages of PKCS#11 modules, for hints.

use std::path::Path;

/// Modules, and Debian's packages that have them.
pub const PACKAGES: [(&str, &str); 4] = [
    ("opensc-pkcs11.so", "opensc-pkcs11"),
    ("libykcs11.so", "ykcs11"),
    ("libsofthsm2.so", "softhsm2"),
    ("p11-kit-proxy.so", "p11-kit-modules"),
];

/// The package that has a module.
pub fn package(module: &Path) -> Option<&'static str> {
    let file = module.file_name()?;
    PACKAGES.iter().find(|(known, _)| file == *known).map(|(_, package)| *package)
}
