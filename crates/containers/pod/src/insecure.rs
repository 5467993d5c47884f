//! `--insecure-options`: which checks and restrictions are off.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

const EXPECTED: &str = "none, image, tls, http, pubkey, capabilities, paths, seccomp, all-fetch, all-run or all, joined by commas";

/// Checks that are off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InsecureOptions {
    /// Signatures of images are not required.
    pub image: bool,
    /// Certificates are not verified.
    pub tls: bool,
    /// Plain HTTP is accepted.
    pub http: bool,
    /// Keys are accepted over plain HTTP.
    pub pubkey: bool,
    /// Apps have all capabilities.
    pub capabilities: bool,
    /// No path of `/proc` and `/sys` is masked or read-only.
    pub paths: bool,
    /// No system call is refused.
    pub seccomp: bool,
}

/// An unknown word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("insecure option {0:?}; expected {EXPECTED}")]
pub struct InsecureError(String);

impl FromStr for InsecureOptions {
    type Err = InsecureError;

    fn from_str(text: &str) -> Result<Self, InsecureError> {
        let mut options = Self::default();
        for word in text.split(',') {
            match word {
                "none" => options = Self::default(),
                "image" | "ondisk" => options.image = true,
                "tls" => options.tls = true,
                "http" => options.http = true,
                "pubkey" => options.pubkey = true,
                "capabilities" => options.capabilities = true,
                "paths" => options.paths = true,
                "seccomp" => options.seccomp = true,
                "all-fetch" | "all-run" | "all" => {
                    let (fetch, run) = (word != "all-run", word != "all-fetch");
                    options = Self {
                        image: options.image || fetch,
                        tls: options.tls || fetch,
                        http: options.http || fetch,
                        pubkey: options.pubkey || fetch,
                        capabilities: options.capabilities || run,
                        paths: options.paths || run,
                        seccomp: options.seccomp || run,
                    };
                }
                other => return Err(InsecureError(other.to_owned())),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_combined() {
        let none = InsecureOptions::default();
        let run = InsecureOptions { capabilities: true, paths: true, seccomp: true, ..none };
        let fetch = InsecureOptions { image: true, tls: true, http: true, pubkey: true, ..none };
        let check = |text: &str, expected: InsecureOptions| {
            assert_eq!(text.parse::<InsecureOptions>().unwrap(), expected, "{text}");
        };
        check("none", none);
        check("image", InsecureOptions { image: true, ..none });
        check("image,http", InsecureOptions { image: true, http: true, ..none });
        check("all-run", run);
        check("all-fetch", fetch);
        check("image,all-run", InsecureOptions { image: true, ..run });
        check("all", InsecureOptions { image: true, tls: true, http: true, pubkey: true, ..run });
        assert!(
            "images"
                .parse::<InsecureOptions>()
                .unwrap_err()
                .to_string()
                .contains("\"images\"; expected none")
        );
    }
}
