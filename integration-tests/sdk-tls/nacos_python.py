"""The Python SDK of Nacos with TLS on: publishes, reads, and hears of a change. Arguments: host:port, ca, certificate, key."""
import asyncio
import sys

from v2.nacos import ClientConfigBuilder, ConfigParam, NacosConfigService, TLSConfig


async def main(address, ca, certificate, key):
    tls = TLSConfig(enabled=True, ca_file=ca, cert_file=certificate, key_file=key)
    config = ClientConfigBuilder().server_address(address).tls_config(tls).log_level("ERROR").build()
    client = await NacosConfigService.create_config_service(config)
    heard = asyncio.Event()

    async def listener(tenant, data_id, group, content):
        if content == "new":
            heard.set()

    assert await client.publish_config(ConfigParam(data_id="python", group="tls", content="old"))
    assert await client.get_config(ConfigParam(data_id="python", group="tls")) == "old"
    await client.add_listener("python", "tls", listener)
    assert await client.publish_config(ConfigParam(data_id="python", group="tls", content="new"))
    await asyncio.wait_for(heard.wait(), 20)
    await client.shutdown()


asyncio.run(main(*sys.argv[1:]))
