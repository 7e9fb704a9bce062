type HeaderFields = Readonly<Record<string, string>>;

/** An answer of the API; `body` is the parsed JSON, undefined where the answer is no JSON. */
export interface Answer<Body = unknown> {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly body: Body;
}

/** Talks to an API over HTTP, as a caller would who has read the contract and nothing else. */
export class HttpClient {
  constructor(readonly url: string) {}

  get<Body>(path: string): Promise<Answer<Body>> {
    return this.send('GET', path);
  }

  post<Body>(path: string, body?: unknown, headers: HeaderFields = {}): Promise<Answer<Body>> {
    return this.send('POST', path, body, headers);
  }

  put<Body>(path: string, body?: unknown): Promise<Answer<Body>> {
    return this.send('PUT', path, body);
  }

  delete<Body>(path: string): Promise<Answer<Body>> {
    return this.send('DELETE', path);
  }

  /** Sends text and bytes as they are, anything else as JSON. */
  async send<Body>(
    method: string,
    path: string,
    body?: unknown,
    headers: HeaderFields = {},
  ): Promise<Answer<Body>> {
    const asItIs = typeof body === 'string' || body instanceof Uint8Array;
    const response = await fetch(this.url + path, {
      method,
      headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body: asItIs ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    const isJson = /^application\/(problem\+)?json/.test(response.headers.get('content-type') ?? '');
    return {
      status: response.status,
      headers: response.headers,
      text,
      body: (isJson ? JSON.parse(text) : undefined) as Body,
    };
  }
}
