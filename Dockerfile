# One image, two programs: the API by default, a worker with the command `node dist/consumer/main.js`.
# Not Node 24 or later: they read escaped keys of JSON objects wrongly (nodejs/node#63785, docs/operations.md).
FROM node:22-slim AS build
WORKDIR /weir
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY . .
RUN npm run build

FROM node:22-slim
ENV NODE_ENV=production
WORKDIR /weir
COPY package.json package-lock.json ./
# Without the optional packages: they are the Postgres that `npm start` runs on a developer's machine, 60 of 106 MB.
RUN npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund && npm cache clean --force
# With the Lua scripts, and the migrations that a worker applies.
COPY --from=build /weir/dist/shared dist/shared
COPY --from=build /weir/dist/rules dist/rules
COPY --from=build /weir/dist/consumer dist/consumer
COPY --from=build /weir/dist/api dist/api
USER node

# Inside a container loopback would be unreachable. Publish the port to trusted networks only: there are no API keys
# yet. OPS_PORT is fixed so that a worker's health can be asked for.
ENV HOST=0.0.0.0 PORT=8080 OPS_PORT=9464
EXPOSE 8080
# HEALTH_PORT: a worker answers on its OPS_PORT (docker-compose.yml sets it).
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.HEALTH_PORT ?? process.env.PORT}/health`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
STOPSIGNAL SIGTERM
CMD ["node", "--max-semi-space-size=32", "dist/api/main.js"]
