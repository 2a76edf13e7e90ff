"""Envoy's configuration: RBAC with an IP matcher for the networks, `api_key_auth` for the keys."""

_TYPE = "type.googleapis.com/"
_FILTERS = _TYPE + "envoy.extensions.filters."


def configuration(setup):
    """The bootstrap configuration as a JSON value; `candidates` writes it."""
    listeners = [_listener(setup, "plain", setup.http, None), _listener(setup, "tls", setup.tls, _tls(setup))]
    cluster = {
        "name": "api",
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": "api",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(setup.upstream)}}]}],
        },
    }
    return {"static_resources": {"listeners": listeners, "clusters": [cluster]}}


def _listener(setup, name, address, transport_socket):
    chain = {"filters": [_http(setup)]}
    if transport_socket:
        chain["transport_socket"] = transport_socket
    return {"name": name, "address": _address(address), "filter_chains": [chain]}


def _address(text):
    host, port = text.rsplit(":", 1)
    return {"socket_address": {"address": host, "port_value": int(port)}}


def _tls(setup):
    pair = {
        "certificate_chain": {"filename": str(setup.certificate)},
        "private_key": {"filename": str(setup.private_key)},
    }
    context = {
        "alpn_protocols": ["h2", "http/1.1"],
        # Envoy's servers stop at TLS 1.2 unless told otherwise.
        "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificates": [pair],
    }
    kind = _TYPE + "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
    return _extension("tls", kind, common_tls_context=context)


def _http(setup):
    routes = {
        "virtual_hosts": [
            {
                "name": "all",
                "domains": ["*"],
                "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "api", "timeout": "30s"}}],
            }
        ]
    }
    # Nothing that the other peers do not do: no request ids, no statistics by route, no headers of its own.
    router = {"dynamic_stats": False, "suppress_envoy_headers": True}
    return _extension(
        "envoy.filters.network.http_connection_manager",
        _FILTERS + "network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="gateway",
        generate_request_id=False,
        server_header_transformation="PASS_THROUGH",
        route_config=routes,
        http_filters=[
            _networks_filter(setup),
            _keys_filter(setup),
            _extension("envoy.filters.http.router", _FILTERS + "http.router.v3.Router", **router),
        ],
    )


def _networks_filter(setup):
    ranges = [
        {"address_prefix": address, "prefix_len": int(length)}
        for address, length in (network.split("/") for network in setup.networks())
    ]
    matcher = _extension(
        "networks",
        _TYPE + "xds.type.matcher.v3.IPMatcher",
        range_matchers=[{"ranges": ranges, "on_match": {"action": _action("ALLOW")}}],
    )
    source = _extension("source", _TYPE + "envoy.extensions.matching.common_inputs.network.v3.SourceIPInput")
    tree = {"input": source, "custom_match": matcher}
    return _extension(
        "envoy.filters.http.rbac",
        _FILTERS + "http.rbac.v3.RBAC",
        matcher={"matcher_tree": tree, "on_no_match": {"action": _action("DENY")}},
    )


def _action(action):
    name = action.lower()
    return _extension(name, _TYPE + "envoy.config.rbac.v3.Action", **{"name": name, "action": action})


def _keys_filter(setup):
    return _extension(
        "envoy.filters.http.api_key_auth",
        _FILTERS + "http.api_key_auth.v3.ApiKeyAuth",
        credentials=[{"key": f"ApiKey {key.text}", "client": key.user} for key in setup.keys],
        key_sources=[{"header": "Authorization"}],
        forwarding={"header": "X-Auth-User", "hide_credentials": True},
    )


def _extension(extension, kind, **settings):
    return {"name": extension, "typed_config": {"@type": kind, **settings}}
