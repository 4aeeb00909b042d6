//! Bridges that another broker began: the way back, on its connection.

use std::sync::Arc;

use super::bridge::{DemandBridge, Remote, Role, durable_subscriptions, is_same};
use super::properties;
use super::status::{Board, State, Status};
use crate::broker::{Broker, Outbox, Refusal};
use crate::connection::bridge::{Bridge, Bridges};
use crate::openwire::BrokerInfo;

/// Makes the bridge back to a broker that connected and wants one.
#[derive(Debug)]
pub struct Incoming {
    broker: Arc<Broker>,
    board: Arc<Board>,
}

impl Incoming {
    pub fn new(broker: &Arc<Broker>, board: &Arc<Board>) -> Self {
        Self { broker: Arc::clone(broker), board: Arc::clone(board) }
    }
}

impl Bridges for Incoming {
    fn accept(
        &self,
        info: &BrokerInfo,
        version: u8,
        outbox: &Arc<Outbox>,
        remote_address: &str,
    ) -> Result<Option<Box<dyn Bridge>>, Refusal> {
        let shown = |text: &Option<crate::openwire::Text>| {
            text.as_ref().map(ToString::to_string).unwrap_or_default()
        };
        let remote_name = shown(&info.broker_name);
        if is_same(info.broker_id.as_ref(), self.broker.id()) {
            return Err(Refusal::Jms("a bridge from this broker to itself".to_owned()));
        }
        let text = shown(&info.network_properties);
        let options = properties::read(&text).map_err(|error| Refusal::Jms(error.to_string()))?;
        if !info.duplex_connection {
            tracing::info!(
                "Network connection from {remote_address} ({remote_name}) has been established."
            );
            if options.sync_durable_subs && version >= 12 {
                outbox.command(durable_subscriptions(&self.broker, &options));
            }
            return Ok(None);
        }
        let name = options.name.clone();
        let options = Arc::new(options);
        let status = Status::new(&options, remote_address, true);
        self.board.add(&status);
        let bridge = DemandBridge::open(
            &self.broker,
            outbox,
            &options,
            Remote { info, version, address: remote_address },
            Role::Responder,
            Arc::clone(&status),
        )?;
        let id = info.broker_id.as_ref().map(ToString::to_string).unwrap_or_default();
        tracing::info!("Started responder end of duplex bridge {name}@{id}");
        let local = self.broker.name();
        tracing::info!(
            "Network connection between vm://{local} and {remote_address} ({remote_name}) has been established."
        );
        let remote_id = info.broker_id.clone().unwrap_or_default();
        let remote_address = remote_address.to_owned();
        status.enter(State::Connected { remote_id, remote_name, remote_address });
        Ok(Some(Box::new(bridge)))
    }
}
