use store::endpoints::{Digest, Options, Order, Rate};

use super::breaker::BreakerSettings;

/// What an endpoint asks for, with what the settings say where it asks for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    pub in_flight: usize,
    pub order: Order,
    pub rate: Option<Rate>,
    pub digest: Option<Digest>,
    pub breaker: BreakerSettings,
}

impl Terms {
    /// `in_flight` is what the settings say.
    pub fn new(options: &Options, in_flight: usize, breaker: BreakerSettings) -> Self {
        let in_flight = options.in_flight.map_or(in_flight, usize::from).max(1);
        Self {
            in_flight: match options.order {
                Order::Endpoint => 1,
                Order::Parallel | Order::Project => in_flight,
            },
            order: options.order,
            rate: options.rate,
            digest: options.digest,
            breaker,
        }
    }
}
