//! Deciding where each request goes.

use std::fmt::Display;

use bytes::Bytes;

use super::client::{Client, Close, Meaning, Requests, Way};
use super::session::{Action, Rules, Wait};
use crate::lane::Purpose;
use crate::metrics::{ClientErrorKind, CommandKind};
use crate::protocol::command::{self, Command, Serve};
use crate::protocol::resp::Request;

impl Client {
    /// Handles one request.
    pub(super) async fn handle(&mut self, request: Request) -> Result<(), Close> {
        if self.shared.pause.is_on() {
            let writes = self.session.is_paused_as_write(&request);
            Box::pin(self.wait_out_pause(writes)).await?;
        }
        if self.shared.registry.is_monitored() {
            self.show_monitors(&request);
        }
        self.session.take_skip();
        let Some(command) = command::lookup(&request) else {
            // A web page that makes a browser speak to this port: the server hangs up too.
            if request.is(0, "POST") || request.is(0, "HOST:") {
                self.shared.complain(self.entry.id, "it speaks HTTP: possibly a cross-site attack");
                return Err(Close::Now);
            }
            return Box::pin(self.handle_unknown(request)).await;
        };
        self.last_command = command.name;
        let serve = command.serve(&request);
        self.entry.tally.came(kind(serve));
        self.rehearse(&request, command);
        match self.session.on_request(&request, (command, serve), &self.rules()) {
            Action::Read { rides } => self.beside_writes(request, Meaning::Read, rides).await,
            Action::Once { rides } => self.beside_writes(request, Meaning::Pass, rides).await,
            Action::Write => self.write(request, Some(command), Vec::new()).await,
            // What is seldom under way takes no room in the task of every client.
            action => Box::pin(self.carry_out(action, request, command)).await,
        }
    }

    pub(super) fn rules(&self) -> Rules<'_> {
        Rules {
            databases: &self.route.databases,
            allow_admin: self.shared.allow_admin,
            checks_cursors: self.route.cursors.is_some(),
        }
    }

    /// Does what is more than sending a request, once everything is there that it needs.
    pub(super) async fn carry_out(
        &mut self,
        action: Action,
        request: Request,
        command: &'static Command,
    ) -> Result<(), Close> {
        let is_ready = self.prepare(action.needs()).await?;
        let done = if is_ready { self.act(action, request, command).await } else { Ok(()) };
        self.leave_own();
        done
    }

    async fn act(
        &mut self,
        action: Action,
        request: Request,
        command: &'static Command,
    ) -> Result<(), Close> {
        match action {
            Action::ReadByScript if self.brings_script(&request) => {
                self.write(request, Some(command), Vec::new()).await
            }
            Action::Read { .. } | Action::ReadByScript => {
                self.beside_writes(request, Meaning::Read, false).await
            }
            Action::Once { .. } => self.pass(request).await,
            Action::Write => self.write(request, Some(command), Vec::new()).await,
            Action::Flush => self.flush_migrated(&request).await,
            Action::Scan(place) => self.scan(request, place).await,
            Action::Block => self.block(request, command).await,
            Action::Multi => self.multi(request, command).await,
            Action::BeginQueue => self.begin_queue(request).await,
            Action::Watch(keys) => self.watch(request, keys).await,
            Action::Unwatch => self.end_by(request).await,
            Action::Queue => self.queue(request, command).await,
            Action::Subscribe => self.subscribe(request).await,
            Action::Confined => self.send_as_subscriber(&request).await,
            Action::Connection(kind) => self.connection(request, kind).await,
            Action::Alone => self.alone(request).await,
            Action::Refuse(reason) => {
                self.refuse(&reason);
                Ok(())
            }
        }
    }

    pub(super) fn refuse(&mut self, reason: &impl Display) {
        self.blame(ClientErrorKind::Refused);
        self.error(&format!("ERR crossfade: {reason}"));
    }

    fn brings_script(&self, request: &Request) -> bool {
        self.route.engine.look(|engine| engine.brings_script(request))
    }

    /// A command that changes no key. One whose answer is short may ride behind what the client has
    /// under way; another would make others wait.
    async fn beside_writes(
        &mut self,
        request: Request,
        meaning: Meaning,
        rides: bool,
    ) -> Result<(), Close> {
        let way = if rides { self.way_behind() } else { Way::Lane(Purpose::LongRead) };
        self.send(way, Requests::from_iter([request]), meaning).await
    }

    /// A command that changes no key but must not be asked twice.
    pub(super) async fn pass(&mut self, request: Request) -> Result<(), Close> {
        self.beside_writes(request, Meaning::Pass, false).await
    }

    pub(super) async fn write(
        &mut self,
        request: Request,
        command: Option<&'static Command>,
        unknown_keys: Vec<Bytes>,
    ) -> Result<(), Close> {
        let meaning = Meaning::Write(command, unknown_keys);
        self.send(Way::Lane(Purpose::Write), Requests::from_iter([request]), meaning).await
    }

    /// `SCAN` and its kin go on where they stopped, if that was on the server that serves now.
    async fn scan(&mut self, request: Request, place: usize) -> Result<(), Close> {
        let reply = self.ask(|route| route.scan_from_known(&request, place)).await?;
        if let Some(reply) = reply {
            self.route.note_cursor(&reply);
            self.reply(|out| out.extend_from_slice(&reply));
        }
        Ok(())
    }

    /// `WAIT` and its kin, on a connection of their own.
    ///
    /// A server counts replicas that have the connection's last write. This one has written
    /// nothing, but every command tells it the present end of all writes, so a `PING` before makes
    /// the answer one about everything that the client has written, and more: it never claims too
    /// much.
    async fn alone(&mut self, request: Request) -> Result<(), Close> {
        self.send_silently(Request::new(["PING"]), Meaning::Pass).await?;
        self.show_wait(Some(Wait::Other));
        let done = self.perform(Way::Own, Requests::from_iter([request]), Meaning::Read).await;
        self.show_wait(None);
        done
    }
}

fn kind(serve: Serve) -> CommandKind {
    match serve {
        Serve::Read { .. } => CommandKind::Read,
        Serve::Write | Serve::Barrier | Serve::Blocking | Serve::Script => CommandKind::Write,
        _ => CommandKind::Other,
    }
}
