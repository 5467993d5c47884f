//! Numeric codes and their names. Unknown codes are preserved.

use std::fmt;

/// `eventtype`: what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventType(pub u32);

impl EventType {
    /// With [`EventResult::SUCCESS`]: installed, before the reboot. With `ERROR`: failed at any time.
    pub const UPDATE_COMPLETE: Self = Self(3);
    /// The download has begun.
    pub const DOWNLOAD_STARTED: Self = Self(13);
    /// The payload is complete, before its installation.
    pub const DOWNLOAD_FINISHED: Self = Self(14);
    /// CoreUpdate's: installed, but the machine holds the completion.
    pub const COMPLETION_HELD: Self = Self(800);

    /// Omaha's description; `None` for unknown types.
    pub fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "unknown",
            1 => "download complete",
            2 => "install complete",
            3 => "update complete",
            4 => "uninstall",
            5 => "download started",
            6 => "install started",
            9 => "new application install started",
            10 => "setup started",
            11 => "setup finished",
            12 => "update application started",
            13 => "update download started",
            14 => "update download finished",
            15 => "update installer started",
            16 => "setup update begin",
            17 => "setup update complete",
            20 => "register product complete",
            30 => "OEM install first check",
            40 => "app-specific command started",
            41 => "app-specific command ended",
            100 => "setup failure",
            102 => "COM server failure",
            103 => "setup update failure",
            800 => "completion deferred by the machine",
            _ => return None,
        })
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(self.0, self.name(), out)
    }
}

/// `eventresult`: the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventResult(pub u32);

impl EventResult {
    /// The operation failed; see [`Event::error`](crate::Event::error).
    pub const ERROR: Self = Self(0);
    /// The operation is complete.
    pub const SUCCESS: Self = Self(1);
    pub(crate) const SUCCESS_REBOOT: Self = Self(2);
    /// The machine postpones the operation.
    pub const DEFERRED: Self = Self(9);

    /// Omaha's description; `None` for unknown results.
    pub fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "error",
            1 => "success",
            2 => "success, rebooted",
            3 => "success, restart the browser",
            4 => "cancelled",
            5 => "installer error, MSI",
            6 => "installer error, other",
            7 => "no update",
            8 => "installer error, system",
            9 => "deferred",
            10 => "handoff error",
            _ => return None,
        })
    }
}

impl fmt::Display for EventResult {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(self.0, self.name(), out)
    }
}

fn write_name(number: u32, name: Option<&str>, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    match name {
        Some(name) => out.write_str(name),
        None => write!(out, "{number}"),
    }
}

/// `errorcode`: the cause, as the updater sent it. The upper bits are flags of the machine. One of them marks a
/// server other than the built-in one, so it is set for most codes that such a server receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(pub u32);

/// The bits of the code without flags.
const CODE_MASK: u32 = 0x0fff_ffff;
const FLAGS: [(u32, &str); 4] =
    [(1 << 31, "dev mode"), (1 << 30, "resumed"), (1 << 29, "test image"), (1 << 28, "custom server")];
/// `HTTP_BASE + N`: the check got HTTP status N; `HTTP_BASE + HTTP_UNKNOWN`: an invalid status.
const HTTP_BASE: u32 = 2000;
const HTTP_UNKNOWN: u32 = 999;

impl ErrorCode {
    /// The connection failed, or the transfer is incomplete.
    pub const DOWNLOAD_TRANSFER: Self = Self(9);
    /// The data does not match the signed hash.
    pub const PAYLOAD_HASH_MISMATCH: Self = Self(10);
    /// The old image that a delta is based on is damaged.
    pub const PAYLOAD_VERIFICATION: Self = Self(12);
    /// The disk failed, or has too little space.
    pub const DOWNLOAD_WRITE: Self = Self(14);
    /// The data was written, but reads back differently.
    pub const NEW_ROOTFS_VERIFICATION: Self = Self(15);
    /// The signature of the metadata is not trusted.
    pub const PAYLOAD_PUBLIC_KEY: Self = Self(18);
    /// The server's response has no content.
    pub const EMPTY_RESPONSE: Self = Self(30);
    /// The response is not XML.
    pub const XML_PARSE: Self = Self(31);
    /// The response is XML without a usable answer.
    pub const RESPONSE_INVALID: Self = Self(34);
    /// The machine does not accept the offered version.
    pub const IGNORED_PER_POLICY: Self = Self(35);
    /// The machine postpones the offered version.
    pub const DEFERRED_PER_POLICY: Self = Self(36);
    /// The new version booted and was rolled back.
    pub const ROLLBACK: Self = Self(44);

    /// The code for a failed HTTP request.
    pub fn http(status: u16) -> Self {
        let status = u32::from(status);
        Self(HTTP_BASE + if status < HTTP_UNKNOWN { status } else { HTTP_UNKNOWN })
    }

    /// Without flags.
    pub fn code(self) -> u32 {
        self.0 & CODE_MASK
    }

    /// Descriptions of the flag bits, the highest first.
    pub fn flags(self) -> impl Iterator<Item = &'static str> {
        FLAGS.into_iter().filter(move |(bit, _)| self.0 & bit != 0).map(|(_, name)| name)
    }

    /// update_engine's name of the code; `None` for unknown ones.
    pub fn name(self) -> Option<&'static str> {
        Some(match self.code() {
            0 => "Success",
            1 => "Error",
            2 => "OmahaRequestError",
            3 => "OmahaResponseHandlerError",
            4 => "FilesystemCopierError",
            5 => "PostinstallRunnerError",
            7 => "InstallDeviceOpenError",
            8 => "KernelDeviceOpenError",
            9 => "DownloadTransferError",
            10 => "PayloadHashMismatchError",
            11 => "PayloadSizeMismatchError",
            12 => "DownloadPayloadVerificationError",
            13 => "DownloadNewPartitionInfoError",
            14 => "DownloadWriteError",
            15 => "NewRootfsVerificationError",
            16 => "NewKernelVerificationError",
            17 => "SignedDeltaPayloadExpectedError",
            18 => "DownloadPayloadPubKeyVerificationError",
            20 => "DownloadStateInitializationError",
            21 => "DownloadInvalidMetadataMagicString",
            22 => "DownloadSignatureMissingInManifest",
            23 => "DownloadManifestParseError",
            24 => "DownloadMetadataSignatureError",
            25 => "DownloadMetadataSignatureVerificationError",
            26 => "DownloadMetadataSignatureMismatch",
            27 => "DownloadOperationHashVerificationError",
            28 => "DownloadOperationExecutionError",
            29 => "DownloadOperationHashMismatch",
            30 => "OmahaRequestEmptyResponseError",
            31 => "OmahaRequestXMLParseError",
            32 => "DownloadInvalidMetadataSize",
            33 => "DownloadInvalidMetadataSignature",
            34 => "OmahaResponseInvalid",
            35 => "OmahaUpdateIgnoredPerPolicy",
            36 => "OmahaUpdateDeferredPerPolicy",
            37 => "OmahaErrorInHTTPResponse",
            38 => "DownloadOperationHashMissingError",
            39 => "DownloadMetadataSignatureMissingError",
            40 => "OmahaUpdateDeferredForBackoff",
            42 => "PCRPolicyVerificationError",
            43 => "PCRPolicyWriteError",
            44 => "Rollback",
            _ => return None,
        })
    }
}

/// `9 DownloadTransferError (268435465 sent: custom server)`.
impl fmt::Display for ErrorCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code();
        write!(out, "{code}")?;
        match (self.name(), code.checked_sub(HTTP_BASE)) {
            (Some(name), _) => write!(out, " {name}")?,
            (None, Some(status)) if status < HTTP_UNKNOWN => write!(out, " HTTP status {status}")?,
            _ => {}
        }
        if code != self.0 {
            write!(out, " ({} sent: {})", self.0, self.flags().collect::<Vec<_>>().join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_displayed_with_their_flags() {
        let check = |code: u32, expect: &str| assert_eq!(ErrorCode(code).to_string(), expect);
        check(9, "9 DownloadTransferError");
        check(0x1000_0009, "9 DownloadTransferError (268435465 sent: custom server)");
        check(0xf000_002c, "44 Rollback (4026531884 sent: dev mode, resumed, test image, custom server)");
        check(2404, "2404 HTTP status 404");
        check(2999, "2999");
        check(77, "77");
        assert_eq!(ErrorCode::http(503).to_string(), "2503 HTTP status 503");
        assert_eq!(ErrorCode::http(1200), ErrorCode(2999));
    }

    #[test]
    fn unknown_codes_are_displayed_as_numbers() {
        assert_eq!(EventType(13).to_string(), "update download started");
        assert_eq!(EventType(999).to_string(), "999");
        assert_eq!(EventResult(9).to_string(), "deferred");
        assert_eq!(EventResult(77).to_string(), "77");
    }
}
