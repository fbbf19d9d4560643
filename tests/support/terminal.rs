//! A terminal in which a program runs: what it draws is seen as people see it, and keys are pressed.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::process::Process;
use super::wait_until;

/// A program on a terminal of its own; killed on drop.
pub struct Terminal {
    controller: File,
    /// Keeps the terminal open when the program has ended.
    _open: OwnedFd,
    process: Process,
    screen: Arc<Mutex<Screen>>,
}

impl Terminal {
    /// Starts a program of this crate with a terminal as its stdin, stdout and stderr.
    pub fn start(program: &Command, columns: u16, rows: u16) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap().into_string().unwrap();
        let side = || File::options().read(true).write(true).open(&name).unwrap();
        let open = OwnedFd::from(side());
        let controller = File::from(controller);
        resize(&controller, columns, rows);
        // Only a session of its own can have this terminal tell it that its size has changed.
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
        command.stdin(side()).stdout(side()).stderr(side());
        let process = Process::new(command.spawn().expect("setsid (util-linux) runs"));
        let screen = Arc::new(Mutex::new(Screen::new(columns.into(), rows.into())));
        watch(controller.try_clone().unwrap(), screen.clone());
        Self { controller, _open: open, process, screen }
    }

    /// The rows that are seen now.
    pub fn rows(&self) -> Vec<String> {
        self.screen.lock().unwrap().rows()
    }

    /// Waits until a text is seen.
    pub fn sees(&self, text: &str) {
        let seen = || self.rows().iter().any(|row| row.contains(text));
        let shown =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| wait_until(text, seen)));
        assert!(shown.is_ok(), "{text:?} is not seen in\n{}", self.rows().join("\n"));
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        self.controller.write_all(keys.as_bytes()).unwrap();
    }

    /// Pulls at the corner of the window.
    pub fn resize(&self, columns: u16, rows: u16) {
        self.screen.lock().unwrap().resize(columns.into(), rows.into());
        resize(&self.controller, columns, rows);
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait("the program ends")
    }

    /// Whether it is as a shell wants it: keys are shown, Ctrl-C interrupts, the usual screen with a
    /// cursor.
    pub fn is_usual(&self) -> bool {
        let modes = tcgetattr(&self.controller).unwrap().local_modes;
        let usual = LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        let screen = self.screen.lock().unwrap();
        modes.contains(usual) && screen.switched == 0
    }
}

fn resize(terminal: &File, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).unwrap();
}

/// Takes what the program writes, until it is dropped.
fn watch(mut controller: File, screen: Arc<Mutex<Screen>>) {
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        let mut text = Vec::new();
        while let Ok(count @ 1..) = controller.read(&mut bytes) {
            text.extend_from_slice(&bytes[..count]);
            let taken = screen.lock().unwrap().take(&text);
            text.drain(..taken);
        }
    });
}

/// What is seen, for the few sequences that crossfade sends; another one fails the test.
struct Screen {
    columns: usize,
    cells: Vec<Vec<char>>,
    at: (usize, usize),
    /// The other screen, no cursor, no wrapping: how many of them are in force.
    switched: usize,
}

impl Screen {
    fn new(columns: usize, rows: usize) -> Self {
        let mut screen = Self { columns, cells: Vec::new(), at: (0, 0), switched: 0 };
        screen.resize(columns, rows);
        screen
    }

    fn resize(&mut self, columns: usize, rows: usize) {
        self.columns = columns;
        self.cells.resize(rows, Vec::new());
        self.cells.iter_mut().for_each(|row| row.resize(columns, ' '));
    }

    fn rows(&self) -> Vec<String> {
        self.cells.iter().map(|row| row.iter().collect::<String>().trim_end().to_owned()).collect()
    }

    /// Takes whole letters and sequences, and says how many bytes they were.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap(),
        };
        let mut rest = text;
        while let Some(letter) = rest.chars().next() {
            rest = match rest.strip_prefix("\x1b[") {
                Some(sequence) => {
                    let Some(end) = sequence.find(|c: char| c.is_ascii_alphabetic()) else { break };
                    self.obey(&sequence[..=end]);
                    &sequence[end + 1..]
                }
                None if rest == "\x1b" => break,
                None => {
                    self.put(letter);
                    &rest[letter.len_utf8()..]
                }
            };
        }
        text.len() - rest.len()
    }

    fn put(&mut self, letter: char) {
        match letter {
            '\r' => self.at.1 = 0,
            '\n' if self.at.0 + 1 < self.cells.len() => self.at.0 += 1,
            '\n' => {
                self.cells.remove(0);
                self.cells.push(vec![' '; self.columns]);
            }
            _ => {
                assert!(!letter.is_control(), "{letter:?} is sent to the terminal");
                assert!(self.at.1 < self.columns, "a row is longer than {}", self.columns);
                let (row, column) = self.at;
                self.cells[row][column] = letter;
                self.at.1 += 1;
            }
        }
    }

    fn obey(&mut self, sequence: &str) {
        let (row, column) = self.at;
        match sequence {
            "H" => self.at = (0, 0),
            // Behind a full row the cursor stands on its last letter.
            "K" => self.cells[row][column.min(self.columns - 1)..].fill(' '),
            "?1049h" | "?25l" | "?7l" => self.switched += 1,
            "?1049l" | "?25h" | "?7h" => self.switched -= 1,
            _ => assert!(sequence.ends_with('m'), "{sequence:?} is sent to the terminal"),
        }
    }
}
