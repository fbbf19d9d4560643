//! The way to the server that serves now, and what has to be waited for before it is taken.
//!
//! A client uses one lane at a time: it changes to another only when everything that it sent down the
//! first has been answered.

use std::sync::Arc;

use super::{Client, Close};
use crate::lane::{Context, Lane, Purpose, Refusal};
use crate::proxy::session::Needs;

/// Which lane serves the steps in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Way {
    /// A lane that others use too.
    Lane(Purpose),
    /// A connection of its own.
    Own,
}

impl Client {
    /// Waits for what an action needs; false when it can't be had, and the client has been told why.
    pub(in crate::proxy) async fn prepare(&mut self, needs: Needs) -> Result<bool, Close> {
        if needs.answers() {
            self.drain().await?;
        }
        if needs.route() {
            self.current_route().await?;
        }
        if needs.connection() { self.has_own().await } else { Ok(true) }
    }

    /// Makes `way` the one that serves; before it changes, all steps in flight are answered.
    pub(in crate::proxy) async fn enter(&mut self, way: Way) -> Result<(), Close> {
        let way = if self.session.is_pinned() { Way::Own } else { way };
        if way != self.way {
            self.drain().await?;
            self.way = way;
            self.lane = None;
        }
        Ok(())
    }

    /// The way of a command that may ride behind what the client has under way.
    pub(in crate::proxy) fn way_behind(&self) -> Way {
        match self.way {
            Way::Lane(_) if !self.is_drained() => self.way,
            _ => Way::Lane(Purpose::Read),
        }
    }

    /// The next command finds its lane anew.
    pub(in crate::proxy) fn forget_lane(&mut self) {
        self.lane = None;
        self.way = Way::Lane(Purpose::Read);
    }

    /// The stage has changed while nothing was asked.
    pub(super) async fn follow_stage(&mut self) -> Result<(), Close> {
        self.routed = false;
        let stage = self.stage.borrow_and_update().clone();
        Box::pin(self.take_subscriber_along()).await?;
        if !stage.held && !Arc::ptr_eq(&stage.route, &self.route) {
            // What is open here must not wait for the next command to be opened there, nor what was
            // left be kept open until then.
            return Box::pin(self.current_route()).await;
        }
        Ok(())
    }

    /// The route that serves now, waiting while commands are held.
    pub(super) async fn current_route(&mut self) -> Result<(), Close> {
        // Looking whether there is a new stage is cheap, looking at it is not.
        while !self.routed || self.stage.has_changed().unwrap_or(true) {
            let stage = self.stage.borrow_and_update().clone();
            if !stage.held {
                self.routed = true;
                if !Arc::ptr_eq(&stage.route, &self.route) {
                    self.route = stage.route;
                    // A flip is seldom: the task of a client that waits keeps no room for it.
                    Box::pin(self.move_over()).await?;
                }
                return Ok(());
            }
            self.follow_stage().await?;
            if self.stage.changed().await.is_err() {
                return Err(Close::Gracefully);
            }
        }
        Ok(())
    }

    /// The route leads elsewhere: so does everything that belongs to the client.
    async fn move_over(&mut self) -> Result<(), Close> {
        self.lane = None;
        let context = self.upstream_context().ok().filter(|_| self.lanes.is_some());
        self.lanes = context.and_then(|context| self.route.pool.open_lanes(&context));
        self.take_subscriber_along().await?;
        self.move_own().await
    }

    /// The client's context with the database under the primary's number.
    pub(in crate::proxy) fn upstream_context(&self) -> Result<Context, Refusal> {
        self.session.context_behind(&self.route.databases).map_err(Refusal::Unmigrated)
    }

    /// The lane of the current way.
    pub(super) async fn lane(&mut self) -> Result<Arc<Lane>, Refusal> {
        if let Some(lane) = &self.lane {
            return Ok(lane.clone());
        }
        if let (Way::Own, Some(lane)) = (self.way, &self.own) {
            return Ok(lane.clone());
        }
        let purpose = match self.way {
            Way::Lane(purpose) => purpose,
            Way::Own => Purpose::Write,
        };
        let context = self.upstream_context()?;
        let lanes = match self.lanes.take().filter(|lanes| lanes.serve(&context)) {
            Some(lanes) => lanes,
            // Opening them is seldom, and takes no room in the task of every client.
            None => Box::pin(self.route.clone().pool.lanes(&context)).await?,
        };
        self.lane = Some(lanes.pick(purpose));
        self.lanes = Some(lanes.clone());
        Ok(lanes.pick(purpose))
    }
}
