//! A real browser, driven over the protocol that all of them speak, by chromedriver.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::process::Process;
use super::wait_for;

/// How elements are named in answers.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// As Debian calls it, and others.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Runs browsers.
pub struct Driver {
    process: Process,
    address: String,
    agent: ureq::Agent,
    program: String,
    /// It ends when nobody is there to read what it says.
    _said: Lines<BufReader<ChildStdout>>,
}

impl Driver {
    /// Starts on a free port; where there is no browser it says so, and there is none.
    pub fn start() -> Option<Self> {
        let there = |name: &str| Command::new(name).arg("--version").output().is_ok();
        let program = NAMES.into_iter().find(|name| there(name)).map(str::to_owned);
        let driver = Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).spawn();
        let (Some(program), Ok(mut child)) = (program, driver) else {
            eprintln!(
                "SKIPPED: chromium or chromedriver is not installed (Debian: chromium-driver)"
            );
            return None;
        };
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let process = Process::new(child);
        let port = said
            .find_map(|line| Some(line.ok()?.split_once("successfully on port ")?.1.to_owned()));
        let port = port.expect("chromedriver says its port").trim_end_matches('.').to_owned();
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)));
        let agent = config.build().into();
        Some(Self {
            process,
            address: format!("http://127.0.0.1:{port}"),
            agent,
            program,
            _said: said,
        })
    }

    /// A browser of its own, with nothing remembered.
    pub fn browser(&self) -> Browser<'_> {
        let profile = tempfile::tempdir().unwrap();
        let directory = format!("--user-data-dir={}", profile.path().display());
        let flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--window-size=1040,1700",
            &directory,
        ];
        let options = json!({"binary": self.path(), "args": flags});
        let wish = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}});
        let answer = self.call("POST", "/session", &wish);
        let session = format!("/session/{}", answer["sessionId"].as_str().expect("a session"));
        Browser { driver: self, session, _profile: profile }
    }

    fn path(&self) -> String {
        let found = Command::new("which").arg(&self.program).output().unwrap();
        String::from_utf8(found.stdout).unwrap().trim().to_owned()
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.address);
        let answer = match method {
            "POST" => self.agent.post(url).send_json(body),
            "DELETE" => self.agent.delete(url).call(),
            _ => self.agent.get(url).call(),
        };
        let mut answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let mut body: Value = answer.body_mut().read_json().expect("JSON");
        let value = body["value"].take();
        assert!(answer.status().is_success(), "{method} {path}: {value:#}");
        value
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It takes its browsers along.
        self.process.signal("TERM");
        self.process.wait("chromedriver ends");
    }
}

/// One browser with one page.
pub struct Browser<'a> {
    driver: &'a Driver,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser<'_> {
    fn post(&self, path: &str, body: &Value) -> Value {
        self.driver.call("POST", &format!("{}{path}", self.session), body)
    }

    /// Goes to an address.
    pub fn open(&self, url: &str) {
        self.post("/url", &json!({"url": url}));
    }

    /// What a script in the page returns.
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// The text of an element as a person sees it.
    pub fn text(&self, selector: &str) -> String {
        let found = self.run(&format!("return document.querySelector({selector:?})?.innerText"));
        found.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an element's text holds some words.
    pub fn sees(&self, selector: &str, words: &str) {
        let what = format!("{selector} says {words:?}");
        wait_for(&what, || self.text(selector).contains(words).then_some(()));
    }

    /// Clicks as a person would: on what can be seen, is not covered, and can be used.
    pub fn click(&self, selector: &str) {
        let usable = format!(
            "const found = document.querySelector({selector:?}); return found !== null \
             && !found.disabled && found.checkVisibility()"
        );
        wait_for(&format!("{selector} can be clicked"), || {
            (self.run(&usable) == true).then_some(())
        });
        let element = self.element(selector);
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    /// Types into a field.
    pub fn type_into(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.post(&format!("/element/{element}/value"), &json!({"text": text}));
    }

    fn element(&self, selector: &str) -> String {
        let wish = json!({"using": "css selector", "value": selector});
        self.post("/element", &wish)[ELEMENT].as_str().expect("an element").to_owned()
    }

    /// What the browser complains of: scripts that fail, what the policy forbids.
    pub fn complaints(&self) -> Vec<String> {
        let entries = self.post("/se/log", &json!({"type": "browser"}));
        let severe = |entry: &&Value| entry["level"] == "SEVERE";
        let entries = entries.as_array().expect("entries").clone();
        entries.iter().filter(severe).map(|entry| entry["message"].to_string()).collect()
    }

    /// How many pages it takes to print.
    pub fn printed_pages(&self) -> usize {
        let print = self.post("/print", &json!({"page": {"width": 21.0, "height": 29.7}}));
        let mut decode = Command::new("base64");
        decode.arg("-d").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = decode.spawn().unwrap();
        let text = print.as_str().unwrap().to_owned();
        let mut input = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
        let pdf = child.wait_with_output().unwrap().stdout;
        writer.join().unwrap().unwrap();
        let pdf = String::from_utf8_lossy(&pdf).into_owned();
        pdf.matches("/Type /Page").count() - pdf.matches("/Type /Pages").count()
    }

    /// Makes the window so wide and high.
    pub fn resize(&self, width: u32, height: u32) {
        self.post("/window/rect", &json!({"width": width, "height": height}));
    }

    /// Keeps a picture in the directory that `CROSSFADE_TEST_PICTURES` names, where it does.
    pub fn picture(&self, name: &str) {
        let Some(directory) = std::env::var_os("CROSSFADE_TEST_PICTURES") else { return };
        let picture = self.driver.call("GET", &format!("{}/screenshot", self.session), &json!({}));
        let file = std::path::Path::new(&directory).join(format!("{name}.png"));
        let mut decode = Command::new("base64");
        decode.arg("-d").stdin(Stdio::piped()).stdout(std::fs::File::create(file).unwrap());
        let mut child = decode.spawn().unwrap();
        let text = picture.as_str().unwrap().as_bytes();
        child.stdin.take().unwrap().write_all(text).unwrap();
        child.wait().unwrap();
    }
}

impl Drop for Browser<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.driver.call("DELETE", &self.session, &json!({}));
        }
    }
}
