#!/usr/bin/env python3
"""Prints dashboard.json: the Grafana dashboard of synward. Change this file, not the JSON:

    deploy/monitoring/dashboard.py > deploy/monitoring/dashboard.json
"""

import json

WIDTH = 24
SERVICE = 'instance=~"$instance", service=~"$service"'
MACHINE = 'instance=~"$instance"'
# Results of a handoff that leave a client without a connection, as in alerts.yml.
FAILED = "refused|timed_out|mismatch|openings_full|table_full|source_limit|server_limit|displaced|message_lost"


def rate(metric, by, more="", selector=SERVICE):
    return f"sum by ({by}) (rate({metric}{{{selector}{more}}}[$__rate_interval]))"


def quantile(share):
    return f"histogram_quantile({share}, sum by (le) (rate(synward_handoff_seconds_bucket{{{MACHINE}}}[$__rate_interval])))"


# Rows of panels. A panel: (title, unit, [(query, legend), …]); a fourth element makes it something other than a time series.
ROWS = {
    "State": [
        ("Serving", "bool_yes_no", [(f"min(synward_serving{{{MACHINE}}})", "")], "good"),
        ("Reasons why it is degraded", "none", [(f"sum(synward_complaints{{{MACHINE}}})", "")], "bad"),
        ("Workers not alive", "none", [(f"count(synward_worker_alive{{{MACHINE}}} == 0) or vector(0)", "")], "bad"),
        ("Last reload accepted", "bool_yes_no", [(f"min(synward_config_last_reload_successful{{{MACHINE}}})", "")], "good"),
        ("Services under attack", "none", [(f"sum(synward_attack_active{{{SERVICE}}})", "")], "bad"),
        ("Services that challenge SYNs", "none", [(f"sum(synward_service_active{{{SERVICE}}})", "")], "count"),
        ("Uptime", "s", [(f"min(synward_uptime_seconds{{{MACHINE}}})", "")], "count"),
        ("Versions", "none", [(f"count by (version) (synward_build_info{{{MACHINE}}})", "{{version}}")], "count"),
    ],
    "SYNs and cookies": [
        ("SYNs a second, and from how many on it is an attack", "short",
         [(f"sum by (service) (synward_syns_per_second{{{SERVICE}}})", "{{service}}"),
          (f"sum by (service) (synward_attack_syns_per_second{{{SERVICE}}})", "threshold {{service}}")]),
        ("SYN-ACKs a second, by who answers", "short", [(rate("synward_answers_total", "service, by"), "{{service}} {{by}}")]),
        ("Cookies that return, a second", "short",
         [(rate("synward_cookies_total", "service, result", ', result!="sent"'), "{{service}} {{result}}")]),
        ("Expected right guesses of cookies in 24 h", "short",
         [(f'sum by (service) (increase(synward_cookies_total{{{SERVICE}, result="invalid"}}[1d])) / 2^25', "{{service}}")]),
    ],
    "Clients": [
        ("Clients handed over, a second", "short",
         [(rate("synward_handoffs_total", "service", ', result="established"'), "{{service}}")]),
        ("Clients without a connection, a second", "short",
         [(rate("synward_handoffs_total", "service, result", f', result=~"{FAILED}"'), "{{service}} {{result}}")]),
        ("Time from a valid cookie to the server's answer", "s",
         [(quantile(share), name) for share, name in ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"))]),
        ("Openings", "none", [(f"sum by (service) (synward_openings{{{SERVICE}}})", "{{service}}")]),
        ("Client data held until the server answers", "bytes", [(f"sum by (service) (synward_held_bytes{{{SERVICE}}})", "{{service}}")]),
        ("Other results of handoffs, a second", "short",
         [(rate("synward_handoffs_total", "service, result", f', result!~"established|{FAILED}"'), "{{service}} {{result}}")]),
    ],
    "Segments": [
        ("Drops a second, by reason", "short", [(rate("synward_drops_total", "service, reason") + " > 0", "{{service}} {{reason}}")]),
        ("Other segments a second", "short", [(rate("synward_segments_total", "service, fate") + " > 0", "{{service}} {{fate}}")]),
    ],
    "Flow table": [
        ("Flows", "none", [(f"sum by (service) (synward_flows{{{SERVICE}}})", "{{service}}")]),
        ("Share of the flow table in use", "percentunit",
         [(f"synward_flow_table_used{{{MACHINE}}} / synward_flow_table_capacity{{{MACHINE}}}", "{{instance}}")]),
        ("Flows expired, and clients refused by a full table, a second", "short",
         [(rate("synward_flow_table_expired_total", "instance", selector=MACHINE), "expired {{instance}}"),
          (rate("synward_flow_table_full_total", "instance", selector=MACHINE), "refused {{instance}}")]),
    ],
    "Workers": [
        ("Share of time that a core's workers are busy", "percentunit",
         [(f"synward_worker_busy_ratio{{{MACHINE}}}", "{{instance}} core {{core}}")]),
        ("Packets that workers could not read or send, a second", "short",
         [(rate("synward_worker_unreadable_total", "instance, queue", selector=MACHINE), "unreadable {{instance}} {{queue}}"),
          (rate("synward_worker_unsent_total", "instance, queue", selector=MACHINE), "unsent {{instance}} {{queue}}")]),
        ("AF_XDP frames a second", "short",
         [(rate("synward_xsk_received_total", "instance, interface", selector=MACHINE), "received {{instance}} {{interface}}"),
          (rate("synward_xsk_transmitted_total", "instance, interface", selector=MACHINE), "transmitted {{instance}} {{interface}}")]),
        ("AF_XDP frames lost a second", "short",
         [(rate(f"synward_xsk_{name}_total", "instance, interface, queue", selector=MACHINE) + " > 0",
           f"{name} {{{{instance}}}} {{{{interface}}}} {{{{queue}}}}")
          for name in ("rx_dropped", "rx_ring_full", "rx_fill_ring_empty_descs", "dropped_full", "dropped_length", "refused",
                       "rx_invalid_descs", "tx_invalid_descs")]),
        ("Wakeups of the kernel a second", "short",
         [(rate("synward_xsk_wakeups_total", "instance, interface", selector=MACHINE), "{{instance}} {{interface}}"),
          (rate("synward_xsk_failed_wakeups_total", "instance, interface", selector=MACHINE), "failed {{instance}} {{interface}}")]),
        ("UMEM frames by place", "none",
         [(f"sum by (instance, interface, place) (synward_xsk_frames{{{MACHINE}}})", "{{instance}} {{interface}} {{place}}")]),
    ],
    "Interfaces": [
        ("Interfaces with native XDP", "bool_yes_no", [(f"synward_interface_native{{{MACHINE}}}", "{{instance}} {{interface}}")]),
        ("Queues with zero-copy, and queues where workers answer SYNs", "none",
         [(f"sum by (instance, interface) (synward_xsk_zero_copy{{{MACHINE}}})", "zero-copy {{instance}} {{interface}}"),
          (f"sum by (instance, interface) (synward_queue_afxdp{{{MACHINE}}})", "afxdp {{instance}} {{interface}}")]),
        ("Frames lost by the driver, a second", "short",
         [(rate("synward_nic_dropped_total", "instance, interface, counter", selector=MACHINE) + " > 0",
           "{{instance}} {{interface}} {{counter}}")]),
        ("Frames of XDP that were not transmitted, a second", "short",
         [(rate("synward_redirect_failed_total", "instance, interface, errno", selector=MACHINE) + " > 0",
           "{{instance}} {{interface}} {{errno}}")]),
    ],
}

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLOURS = {
    "good": [{"color": "red", "value": None}, {"color": "green", "value": 1}],
    "bad": [{"color": "green", "value": None}, {"color": "red", "value": 1}],
    "count": [{"color": "blue", "value": None}],
}


def panel(number, place, title, unit, queries, colours=None):
    targets = [{"datasource": SOURCE, "expr": query, "legendFormat": legend, "refId": chr(ord("A") + index)}
               for index, (query, legend) in enumerate(queries)]
    found = {"id": number, "title": title, "datasource": SOURCE, "gridPos": place, "targets": targets}
    if colours:
        steps = {"mode": "absolute", "steps": COLOURS[colours]}
        text = "name" if any(legend for _, legend in queries) else "value"
        return found | {"type": "stat", "fieldConfig": {"defaults": {"unit": unit, "thresholds": steps}, "overrides": []},
                        "options": {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "background", "textMode": text}}
    return found | {"type": "timeseries", "options": {"tooltip": {"mode": "multi"}, "legend": {"displayMode": "list"}},
                    "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": {"fillOpacity": 10}}, "overrides": []}}


def panels():
    number, top = 1, 0
    for row, of_row in ROWS.items():
        yield {"id": number, "type": "row", "title": row, "collapsed": False, "panels": [],
               "gridPos": {"x": 0, "y": top, "w": WIDTH, "h": 1}}
        number, top, left = number + 1, top + 1, 0
        small = len(of_row[0]) == 4
        width, height = (3, 4) if small else (WIDTH // 3 if len(of_row) % 3 == 0 else WIDTH // 2, 8)
        for one in of_row:
            if left + width > WIDTH:
                top, left = top + height, 0
            yield panel(number, {"x": left, "y": top, "w": width, "h": height}, *one)
            number, left = number + 1, left + width
        top += height


def variable(name, label, query):
    return {"name": name, "label": label, "type": "query", "datasource": SOURCE, "query": query, "definition": query,
            "refresh": 2, "includeAll": True, "multi": True, "sort": 1, "current": {"text": "All", "value": "$__all"}}


print(json.dumps({
    "uid": "synward", "title": "synward", "tags": ["synward"], "schemaVersion": 38, "editable": True,
    "time": {"from": "now-1h", "to": "now"}, "refresh": "10s", "timezone": "browser",
    "templating": {"list": [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
        variable("instance", "Machine", "label_values(synward_build_info, instance)"),
        variable("service", "Service", 'label_values(synward_syns_total{instance=~"$instance"}, service)'),
    ]},
    "annotations": {"list": [{
        "name": "Alerts", "enable": True, "iconColor": "red", "datasource": SOURCE, "titleFormat": "{{alertname}}",
        "expr": 'ALERTS{alertname=~"Synward.*", alertstate="firing"}', "step": "15s"}]},
    "panels": list(panels()),
}, indent=1))
