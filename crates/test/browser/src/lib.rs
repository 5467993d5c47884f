//! Headless Chromium for tests of the web pages, driven by the DevTools protocol over a pipe. Every failure panics.
//!
//! Exceptions, blocked scripts and failed requests of a page are collected, so that a test can check for none.

#![warn(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "for tests only")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// In Debian's package of the same name.
pub const PROGRAM: &str = "chromium-headless-shell";
/// For one response, and for one condition of [`Page::wait_for`].
const TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// The environment variable with the folder of screenshots.
pub const SCREENSHOTS: &str = "KEELSON_SCREENSHOTS";
/// Width and height in pixels.
const WINDOW: (u32, u32) = (1280, 900);

/// A page in a separate browser process, which ends when this is dropped.
pub struct Page {
    browser: Child,
    requests: ChildStdin,
    messages: Receiver<Value>,
    last_id: u64,
    session: Option<String>,
    errors: Vec<String>,
    _profile: TempDir,
}

impl Page {
    /// Opens `url` and waits until it is loaded.
    pub fn open(url: &str) -> Self {
        let profile = tempfile::tempdir().unwrap();
        // The pipe is at descriptors 3 and 4. As root Chromium requires --no-sandbox.
        let script = format!("exec {PROGRAM} \"$@\" 3<&0 4>&1 </dev/null >/dev/null");
        let mut browser = Command::new("bash")
            .args(["-c", &script, "bash", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--window-size={},{}", WINDOW.0, WINDOW.1))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let requests = browser.stdin.take().unwrap();
        let mut stdout = BufReader::new(browser.stdout.take().unwrap());
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while stdout.read_until(0, &mut message).is_ok_and(|count| count > 0) {
                let read = serde_json::from_slice(message.strip_suffix(b"\0").unwrap_or(&message)).unwrap();
                if sender.send(read).is_err() {
                    break;
                }
                message.clear();
            }
        });
        let mut page = Self {
            browser,
            requests,
            messages,
            last_id: 0,
            session: None,
            errors: Vec::new(),
            _profile: profile,
        };
        let target = page.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = page.call("Target.attachToTarget", attach);
        page.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Log"] {
            page.call(&format!("{domain}.enable"), json!({}));
        }
        page.call("Page.navigate", json!({ "url": url }));
        page.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'");
        page
    }

    /// Evaluates an expression; awaits a promise.
    pub fn value(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut response = self.call("Runtime.evaluate", parameters);
        assert!(response.get("exceptionDetails").is_none(), "{expression}: {response}");
        response["result"]["value"].take()
    }

    /// Waits until the expression is true.
    pub fn wait_for(&mut self, expression: &str) {
        let start = Instant::now();
        while self.value(expression) != Value::Bool(true) {
            assert!(start.elapsed() < TIMEOUT, "timed out: {expression}; {:?}", self.errors);
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// The visible text of the element.
    pub fn text(&mut self, selector: &str) -> String {
        let value = self.value(&format!("document.querySelector({}).innerText", json!(selector)));
        value.as_str().expect(selector).to_owned()
    }

    /// Clicks in the middle of the element, which must be visible.
    pub fn click(&mut self, selector: &str) {
        let middle = self.value(&format!(
            "(() => {{ const e = document.querySelector({}); e.scrollIntoView({{ block: 'center' }}); \
             const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2, b.width]; }})()",
            json!(selector)
        ));
        assert!(middle[2].as_f64().unwrap() > 0.0, "{selector} is not visible");
        for kind in ["mousePressed", "mouseReleased"] {
            let at =
                json!({ "type": kind, "x": middle[0], "y": middle[1], "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", at);
        }
    }

    /// Inserts text at the caret.
    pub fn paste(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Writes the visible part as `NAME.png` into the folder that [`SCREENSHOTS`] names, if it is set.
    pub fn save_screenshot(&mut self, name: &str) {
        let taken = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let png = STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
        assert!(png.starts_with(b"\x89PNG"));
        if let Some(folder) = std::env::var_os(SCREENSHOTS) {
            std::fs::write(Path::new(&folder).join(format!("{name}.png")), png).unwrap();
        }
    }

    /// Errors of the page until now.
    pub fn errors(&self) -> &[String] {
        &self.errors
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last_id += 1;
        let mut request = json!({ "id": self.last_id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        self.requests.write_all(format!("{request}\0").as_bytes()).unwrap();
        loop {
            let mut message = self.messages.recv_timeout(TIMEOUT).expect("the browser does not respond");
            if message["id"] == self.last_id {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].take();
            }
            self.collect_error(&message);
        }
    }

    fn collect_error(&mut self, message: &Value) {
        let is_error = match message["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Log.entryAdded") => message["params"]["entry"]["level"] == "error",
            _ => false,
        };
        if is_error {
            self.errors.push(message["params"].to_string());
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // It may have exited already.
        if self.browser.kill().is_ok() {
            self.browser.wait().ok();
        }
    }
}
