import { IncomingMessage, ServerResponse } from 'node:http';
import express, { type Express as ExpressApp } from 'express';

declare global {
  namespace Express {
    interface Request {
      /** `X-Request-Id` of the caller, or made. */
      requestId: string;
      /** performance.now() when the request's headers were read. */
      startedAt: number;
      /** Its body is being read, and not whole yet. */
      awaitsBody: boolean;
      /** Its body comes only when the caller is told to go on, or does not care to wait. */
      expectsContinue: boolean;
    }
    interface Response {
      /** Among those in flight. */
      placeInFlight: number;
    }
  }
}

export interface FastExpress {
  readonly app: ExpressApp;
  /** To be handed to `http.createServer`. */
  readonly constructors: {
    readonly IncomingMessage: typeof IncomingMessage;
    readonly ServerResponse: typeof ServerResponse;
  };
}

/**
 * Express without its one expensive habit.
 *
 * For every request Express calls `Object.setPrototypeOf(req, app.request)`, and the same for the response. That
 * throws away V8's hidden class of the object, and everything that touches it afterwards is slow: four times
 * fewer requests per second (docs/benchmarks.md). Here `app.request` and `app.response` ARE the prototypes of
 * the objects that node:http makes, so that the call finds nothing to change.
 */
export function createFastExpress(): FastExpress {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('query parser', 'simple');
  app.enable('case sensitive routing');

  // Fields that every request gets are there from the start, so that all requests have one shape.
  class FastRequest extends IncomingMessage {
    requestId = '';
    startedAt = 0;
    awaitsBody = false;
    expectsContinue = false;
  }
  class FastResponse extends ServerResponse {
    placeInFlight = -1;
  }

  // instance → FastRequest.prototype (= app.request) → Express' request → http.IncomingMessage.prototype
  Object.setPrototypeOf(FastRequest.prototype, app.request);
  Object.setPrototypeOf(FastResponse.prototype, app.response);
  app.request = FastRequest.prototype as unknown as ExpressApp['request'];
  app.response = FastResponse.prototype as unknown as ExpressApp['response'];
  return {
    app,
    constructors: {
      IncomingMessage: FastRequest as typeof IncomingMessage,
      ServerResponse: FastResponse as typeof ServerResponse,
    },
  };
}
