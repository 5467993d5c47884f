//! A real browser without a window, for tests of our pages: Chromium, over the pipe of its DevTools protocol.
//!
//! Everything that goes wrong in a page (an exception, a refused script, a failed request) is kept, so that a test
//! can say that nothing did. It must never be used outside of tests: a failure panics.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at what it did not expect"
)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Debian's package of the same name has it.
pub const PROGRAM: &str = "chromium-headless-shell";
/// For one answer, and for what a page is waited for: an emulated or busy machine is slow.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);
/// Width and height in pixels.
const WINDOW: (u32, u32) = (1280, 900);

/// One page of a browser of its own, which ends with it.
pub struct Page {
    browser: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    number: u64,
    session: Option<String>,
    troubles: Vec<String>,
    _profile: TempDir,
}

impl Page {
    /// Opens `url` and waits until it is loaded.
    pub fn open(url: &str) -> Self {
        let profile = tempfile::tempdir().unwrap();
        // The pipe is at descriptors 3 and 4; a browser that root starts has no sandbox of its own.
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
        let to = browser.stdin.take().unwrap();
        let mut messages = BufReader::new(browser.stdout.take().unwrap());
        let (send, from) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while messages.read_until(0, &mut message).is_ok_and(|count| count > 0) {
                let read = serde_json::from_slice(message.strip_suffix(b"\0").unwrap_or(&message)).unwrap();
                if send.send(read).is_err() {
                    break;
                }
                message.clear();
            }
        });
        let mut page =
            Self { browser, to, from, number: 0, session: None, troubles: Vec::new(), _profile: profile };
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

    /// The value of an expression, awaited where it is a promise.
    pub fn value(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.call("Runtime.evaluate", asked);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    /// Waits until the expression is true.
    pub fn wait_for(&mut self, expression: &str) {
        let start = Instant::now();
        while self.value(expression) != Value::Bool(true) {
            assert!(start.elapsed() < PATIENCE, "never became true: {expression}; {:?}", self.troubles);
            std::thread::sleep(LOOK);
        }
    }

    /// What a person reads of the element.
    pub fn text(&mut self, selector: &str) -> String {
        let value = self.value(&format!("document.querySelector({}).innerText", json!(selector)));
        value.as_str().expect(selector).to_owned()
    }

    /// Presses and lets go the left button in the middle of the element, which must be there to be seen.
    pub fn click(&mut self, selector: &str) {
        let middle = self.value(&format!(
            "(() => {{ const e = document.querySelector({}); e.scrollIntoView({{ block: 'center' }}); \
             const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2, b.width]; }})()",
            json!(selector)
        ));
        assert!(middle[2].as_f64().unwrap() > 0.0, "{selector} is not to be seen");
        for kind in ["mousePressed", "mouseReleased"] {
            let at =
                json!({ "type": kind, "x": middle[0], "y": middle[1], "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", at);
        }
    }

    /// Text as if it were pasted where the caret is.
    pub fn paste(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// A PNG of what is to be seen.
    pub fn picture(&mut self) -> Vec<u8> {
        let taken = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        STANDARD.decode(taken["data"].as_str().unwrap()).unwrap()
    }

    /// What went wrong in the page until now.
    pub fn troubles(&self) -> &[String] {
        &self.troubles
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.number += 1;
        let mut request = json!({ "id": self.number, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        self.to.write_all(format!("{request}\0").as_bytes()).unwrap();
        loop {
            let mut message = self.from.recv_timeout(PATIENCE).expect("the browser does not answer");
            if message["id"] == self.number {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].take();
            }
            self.notice(&message);
        }
    }

    fn notice(&mut self, message: &Value) {
        let trouble = match message["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Log.entryAdded") => message["params"]["entry"]["level"] == "error",
            _ => false,
        };
        if trouble {
            self.troubles.push(message["params"].to_string());
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // A browser that has ended already is as good.
        if self.browser.kill().is_ok() {
            self.browser.wait().ok();
        }
    }
}
