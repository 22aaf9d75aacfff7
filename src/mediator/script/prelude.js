// The `mc` object of scripts. `host` does what needs the message; it takes and gives strings,
// numbers, booleans and null.
(function (host) {
  'use strict';
  const parse = JSON.parse, stringify = JSON.stringify, text = String, isArray = Array.isArray;
  const json = (v) => (typeof v === 'string' ? v : stringify(v === undefined ? null : v));
  const orNull = (v) => (v === undefined || v === null ? null : text(v));

  // A small DOM for parseXml and getEnvelope.
  class NodeList {
    constructor(items) { items.forEach((n, i) => { this[i] = n; }); this.length = items.length; }
    item(i) { return this[i] || null; }
    getLength() { return this.length; }
    [Symbol.iterator]() { return Array.prototype.values.call(this); }
  }
  const escape = (s, attribute) => {
    s = s.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
    return attribute ? s.replace(/"/g, '&quot;') : s;
  };
  class Node {
    constructor(name, uri) { this.name = name; this.uri = uri || ''; this.atts = []; this.kids = []; this.parent = null; this.value = null; }
    getNodeName() { return this.name; }
    getTagName() { return this.name; }
    getLocalName() { return this.name.slice(this.name.indexOf(':') + 1); }
    getNamespaceURI() { return this.uri || null; }
    getNodeType() { return this.name === '#text' ? 3 : this.name === '#document' ? 9 : 1; }
    getNodeValue() { return this.value; }
    getParentNode() { return this.parent; }
    getChildNodes() { return new NodeList(this.kids); }
    hasChildNodes() { return this.kids.length > 0; }
    getFirstChild() { return this.kids[0] || null; }
    getLastChild() { return this.kids[this.kids.length - 1] || null; }
    getNextSibling() { return this.parent ? this.parent.kids[this.parent.kids.indexOf(this) + 1] || null : null; }
    getPreviousSibling() { return this.parent ? this.parent.kids[this.parent.kids.indexOf(this) - 1] || null : null; }
    getDocumentElement() { return this.kids.find((n) => n.getNodeType() === 1) || null; }
    getTextContent() { return this.name === '#text' ? this.value : this.kids.map((n) => n.getTextContent()).join(''); }
    setTextContent(t) { if (this.name === '#text') { this.value = text(t); } else { this.kids = []; this.appendChild(this.createTextNode(t)); } }
    getElementsByTagName(name) { return this.getElementsByTagNameNS('*', name, true); }
    getElementsByTagNameNS(uri, name, qualified) {
      const out = [];
      const walk = (n) => n.kids.forEach((k) => {
        if (k.getNodeType() !== 1) { return; }
        if ((uri === '*' || k.uri === uri) && (name === '*' || (qualified ? k.name : k.getLocalName()) === name)) { out.push(k); }
        walk(k);
      });
      walk(this);
      return new NodeList(out);
    }
    getAttribute(name) { const a = this.atts.find((x) => x[0] === name); return a ? a[1] : ''; }
    hasAttribute(name) { return this.atts.some((x) => x[0] === name); }
    setAttribute(name, value) { this.removeAttribute(name); this.atts.push([name, text(value)]); }
    removeAttribute(name) { this.atts = this.atts.filter((x) => x[0] !== name); }
    createElement(name) { return new Node(text(name), ''); }
    createElementNS(uri, name) { const n = new Node(text(name), uri); const at = n.name.indexOf(':'); n.setAttribute(at < 0 ? 'xmlns' : 'xmlns:' + n.name.slice(0, at), uri); return n; }
    createTextNode(t) { const n = new Node('#text'); n.value = text(t); return n; }
    appendChild(n) { return this.insertBefore(n, null); }
    insertBefore(n, before) {
      for (let up = this; up; up = up.parent) { if (up === n) { throw new Error('an element cannot be put into itself'); } }
      if (n.parent) { n.parent.removeChild(n); }
      n.parent = this;
      const at = before ? this.kids.indexOf(before) : this.kids.length;
      this.kids.splice(at < 0 ? this.kids.length : at, 0, n);
      return n;
    }
    removeChild(n) { this.kids = this.kids.filter((k) => k !== n); n.parent = null; return n; }
    replaceChild(n, old) { this.insertBefore(n, old); return this.removeChild(old); }
    cloneNode(deep) {
      const n = new Node(this.name, this.uri); n.value = this.value; n.atts = this.atts.map((a) => [a[0], a[1]]);
      if (deep) { this.kids.forEach((k) => n.appendChild(k.cloneNode(true))); }
      return n;
    }
    toString() {
      if (this.name === '#text') { return escape(this.value, false); }
      const inner = this.kids.map((n) => n.toString()).join('');
      if (this.name === '#document') { return inner; }
      const start = '<' + this.name + this.atts.map((a) => ' ' + a[0] + '="' + escape(a[1], true) + '"').join('');
      return inner === '' ? start + '/>' : start + '>' + inner + '</' + this.name + '>';
    }
  }
  const tree = (raw) => {
    if (typeof raw === 'string') { return new Node('#text').createTextNode(raw); }
    const n = new Node(raw[0], raw[1]);
    n.atts = raw[2];
    raw[3].forEach((k) => n.appendChild(tree(k)));
    return n;
  };
  const xml = (source) => {
    const d = new Node('#document');
    d.appendChild(tree(parse(host('tree', text(source)))));
    return d;
  };

  const reference = (field) => {
    const address = host('get', field);
    return address === null ? null : { getAddress: () => address, toString: () => address };
  };
  const setter = (field) => (v) => { host('set', field, orNull(v)); };
  const getter = (field) => () => host('get', field);
  const write = (level) => (line) => { host('log', level, text(line)); };
  const log = {
    info: write('info'), warn: write('warn'), error: write('error'), fatal: write('error'),
    debug: write('debug'), trace: write('trace'),
    isInfoEnabled: () => true, isWarnEnabled: () => true, isErrorEnabled: () => true,
    isDebugEnabled: () => false, isTraceEnabled: () => false,
  };
  // Kind and text of a value that goes into a property or variable.
  const typed = (v) => {
    switch (typeof v) {
      case 'boolean': return ['boolean', v];
      case 'number': return ['number', v];
      case 'bigint': return ['string', text(v)];
      case 'string': return ['string', v];
      case 'undefined': return ['null', null];
      default:
        if (v === null) { return ['null', null]; }
        if (v instanceof Node) { return ['xml', text(v)]; }
        return ['json', stringify(v)];
    }
  };
  const setJson = (v) => { host('setJson', json(v)); };
  const getJson = () => { const t = host('getJson'); return t === null ? {} : parse(t); };
  const mc = {
    getPayloadXML: () => host('getPayloadXML'),
    setPayloadXML: (v) => { host('setPayloadXML', v === null || v === undefined ? '' : text(v)); },
    getPayloadJSON: getJson,
    setPayloadJSON: setJson,
    jsonObject: getJson,
    setJsonObject: setJson,
    getJsonText: () => { const t = host('getJson'); return t === null ? '{}' : t; },
    setJsonText: (v) => { host('setJson', text(v)); },
    getPayloadText: () => host('getPayloadText'),
    getEnvelopeXML: () => host('getEnvelope'),
    getEnvelope: () => xml(host('getEnvelope')),
    setEnvelope: (v) => { host('setEnvelope', text(v)); },
    addHeader: (must, content) => { host('addHeader', !!must, text(content)); },
    getProperty: (k, scope) => host('getProperty', text(k), orNull(scope)),
    setProperty: (k, v, scope) => { const [kind, value] = typed(v); host('setProperty', text(k), orNull(scope), kind, value); },
    removeProperty: (k, scope) => { host('removeProperty', text(k), orNull(scope)); },
    getPropertyKeySet: () => parse(host('propertyKeys')),
    getVariable: (k) => { const r = host('getVariable', text(k)); if (r === null) { return null; } const v = parse(r); return v[0] === 'json' ? parse(v[1]) : v[1]; },
    setVariable: (k, v) => { const [kind, value] = typed(v); host('setVariable', text(k), kind, value); },
    getVariableKeySet: () => parse(host('variableKeys')),
    getXpathResult: (e) => host('xpath', text(e)),
    getTo: () => reference('To'), setTo: setter('To'),
    getFrom: () => reference('From'), setFrom: setter('From'),
    getReplyTo: () => reference('ReplyTo'), setReplyTo: setter('ReplyTo'),
    getFaultTo: () => reference('FaultTo'), setFaultTo: setter('FaultTo'),
    getSoapAction: getter('Action'), setSoapAction: setter('Action'),
    getWSAAction: getter('Action'), setWSAAction: setter('Action'),
    getMessageID: getter('MessageID'), setMessageID: setter('MessageID'),
    getWSAMessageID: getter('MessageID'), setWSAMessageID: setter('MessageID'),
    isResponse: () => host('isResponse'),
    setResponse: (v) => { host('setResponse', !!v); },
    isDoingREST: () => host('isRest'), isDoingPOX: () => host('isRest'), isDoingGET: () => host('isGet'),
    isSOAP11: () => host('isSoap11'),
    getServiceLog: () => log,
    getEntry: (k) => host('entry', text(k)),
    getConfiguration: () => ({ getEntry: (k) => host('entry', text(k)), getLocalRegistryEntry: (k) => host('entry', text(k)) }),
    parseXml: xml,
    getParsedOMElement: xml,
  };
  Object.freeze(mc);
  globalThis.mc = mc;
  globalThis.print = (...parts) => log.info(parts.map(text).join(' '));
  globalThis.console = { log: globalThis.print, info: globalThis.print, warn: write('warn'), error: write('error'), debug: write('debug') };
  globalThis.load = (what) => { if (text(what) !== 'nashorn:mozilla_compat.js') { throw new Error('scripts cannot load ' + what + '; use <include key="…"/>'); } };

  // What came out, as text: null, then kind and value.
  const outcome = (v) => {
    if (v === false) { return 'false'; }
    const [kind, value] = typed(v);
    return kind === 'null' ? 'null' : kind + ' ' + text(value);
  };
  return [
    function (name, args) {
      const f = globalThis[name];
      if (typeof f !== 'function') { return 'missing'; }
      return outcome(f.apply(undefined, [mc].concat(args === '' ? [] : parse(args))));
    },
    outcome,
  ];
})
