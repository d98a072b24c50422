//! Numbers in Prometheus' text format.
//!
//! One recorder for the process; every machine writes its own numbers into it once a second, under
//! `lanyard_<service>_` or `lanyard_udp_`. docs/operations.md lists them.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Makes this process collect numbers; later calls give the first recorder's handle no second life, so call it once.
///
/// # Errors
/// When another recorder was installed before.
pub fn install() -> anyhow::Result<PrometheusHandle> {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|_| anyhow::anyhow!("metrics are collected already"))?;
    describe();
    Ok(handle)
}

fn describe() {
    use metrics::{describe_counter, describe_gauge};
    describe_counter!("lanyard_udp_rx_datagrams_total", "Datagrams received by a machine.");
    describe_counter!("lanyard_udp_rx_bytes_total", "Bytes received by a machine.");
    describe_counter!("lanyard_udp_tx_datagrams_total", "Datagrams sent for a machine.");
    describe_counter!("lanyard_udp_tx_bytes_total", "Bytes sent for a machine.");
    describe_counter!(
        "lanyard_udp_tx_dropped_total",
        "Datagrams not sent because the socket was full or refused."
    );
    describe_counter!("lanyard_udp_rejected_total", "Datagrams ignored, by reason.");
    describe_counter!("lanyard_udp_events_dropped_total", "Facts lost because the program was behind.");
    describe_counter!("lanyard_checkpoint_joins_total", "Wishes to join, by outcome.");
    describe_counter!(
        "lanyard_handshake_verdicts_total",
        "How attempts at a direct path ended, as devices report."
    );
    describe_counter!("lanyard_stun_answered_total", "STUN requests answered.");
    describe_counter!("lanyard_stun_unanswered_total", "Datagrams at the STUN ports that got no answer.");
    describe_gauge!("lanyard_checkpoint_sessions", "Sessions with devices.");
    describe_gauge!("lanyard_checkpoint_online", "Devices online.");
    describe_counter!("lanyard_relay_packets_total", "Packets relayed.");
    describe_counter!("lanyard_relay_bytes_total", "Bytes relayed, headers included.");
    describe_counter!("lanyard_relay_quotas_spent_total", "Times a network used up its quota of a day.");
    describe_gauge!("lanyard_relay_bindings", "Relay channels in use.");
    describe_gauge!("lanyard_index_connected", "1 while this process is connected to the index.");
    describe_counter!(
        "lanyard_index_webhook_tries_total",
        "Messages sent to webhooks, by what became of them."
    );
}
