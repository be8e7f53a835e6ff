"""A TLS proxy on a loopback port. It accepts only clients with a certificate of the same authority.

Arguments: its port, the port behind it, and the files of the authority, the certificate and the key. Prints "serving" when ready.
"""

from __future__ import annotations

import asyncio
import ssl
import sys


def main(port: int, behind: int, authority: str, certificate: str, key: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate, key)
    asyncio.run(_serve(port, behind, context))


async def _serve(port: int, behind: int, context: ssl.SSLContext) -> None:
    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_connection("127.0.0.1", behind)
        await asyncio.gather(_pass(reader, back_writer), _pass(back_reader, writer), return_exceptions=True)

    server = await asyncio.start_server(accepted, "127.0.0.1", port, ssl=context)
    print("serving", flush=True)
    await server.serve_forever()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
