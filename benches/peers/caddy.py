"""Caddy's configuration: `remote_ip` for the networks, `map` for the keys."""


def configuration(setup):
    """The configuration as a JSON value; `candidates` writes it."""
    pair = {"certificate": str(setup.certificate), "key": str(setup.private_key)}
    servers = {
        "plain": _server(setup, setup.http),
        "tls": {**_server(setup, setup.tls), "tls_connection_policies": [{}]},
    }
    return {
        "admin": {"disabled": True, "config": {"persist": False}},
        "logging": {"logs": {"default": {"level": "ERROR"}}},
        "apps": {"tls": {"certificates": {"load_files": [pair]}}, "http": {"servers": servers}},
    }


def _server(setup, address):
    outside = {"not": [{"remote_ip": {"ranges": setup.networks()}}]}
    mappings = [{"input": f"ApiKey {key.text}", "outputs": [key.user]} for key in setup.keys]
    users = {
        "handler": "map",
        "source": "{http.request.header.Authorization}",
        "destinations": ["{user}"],
        "mappings": mappings,
        "defaults": [""],
    }
    # `map` looks its placeholder up anew at each use; a variable keeps what it found the first time.
    caller = {"handler": "vars", "caller": "{user}"}
    routes = [
        _refusal(outside, 403),
        {"handle": [users, caller]},
        _refusal({"vars": {"caller": [""]}}, 401),
        {"handle": [_reverse_proxy(setup)]},
    ]
    return {"listen": [address], "routes": routes, "automatic_https": {"disable": True}}


def _refusal(match, status):
    return {"match": [match], "handle": [{"handler": "static_response", "status_code": status}], "terminal": True}


def _reverse_proxy(setup):
    keep_alive = {"max_idle_conns_per_host": 256, "idle_timeout": "300s"}
    return {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": setup.upstream}],
        "transport": {"protocol": "http", "keep_alive": keep_alive},
        "headers": {"request": {"delete": ["Authorization"], "set": {"X-Auth-User": ["{http.vars.caller}"]}}},
    }
