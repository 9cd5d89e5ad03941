"""The same answer as `GET /v1/forecasts?id=…`, by FastAPI and uvicorn from memory.

    PEER_ANSWERS=answers.json python fastapi_peer.py PORT

`answers.json` maps each product to the JSON that Tradewind answered for it. `/v1/forecasts` gives FastAPI the values and
lets it write them, as its own pages show it; `/raw/forecasts` hands out bytes that were written once, which is the least
that FastAPI can do for a request.
"""

import json
import os
import sys

import uvicorn
from fastapi import FastAPI, HTTPException, Response

with open(os.environ["PEER_ANSWERS"], encoding="utf-8") as file:
    VALUES = json.load(file)
BYTES = {name: json.dumps(value, separators=(",", ":")).encode() for name, value in VALUES.items()}

app = FastAPI()


@app.get("/v1/forecasts")
async def forecasts(id: str):
    if id not in VALUES:
        raise HTTPException(status_code=404, detail="there is no such product")
    return VALUES[id]


@app.get("/raw/forecasts")
async def raw_forecasts(id: str):
    if id not in BYTES:
        raise HTTPException(status_code=404, detail="there is no such product")
    return Response(BYTES[id], media_type="application/json")


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
