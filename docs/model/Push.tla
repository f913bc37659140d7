-------------------------------- MODULE Push --------------------------------
(* How a committed message finds every device: members, routes, publications,  *)
(* and the sync that whoever appears gets.                                     *)
(*                                                                              *)
(* One user with two devices, two gateways, a few connections, a few messages   *)
(* to that user. What happens before the commit is Takeover's; what is in a     *)
(* sync, and its token, is Sync's: here a sync is one page.                     *)
(* Rules R4, R4a, R6, decision 0002; promises G5 and G8.                        *)
EXTENDS Integers, Sequences, FiniteSets, TLC

CONSTANTS Devices, Gateways, None,
          NMsg, MaxConn, Budget, Kinds,
          \* The rules that a configuration may take away:
          EnterFirst,   \* a connection is entered before its sync reads MySQL                       (R4)
          LookAfter,    \* routes are looked up after the commit                                     (R4)
          OwnOnly,      \* a gateway removes its own member, not "the device's"                      (R4)
          InOrder,      \* a gateway enters and removes in the order in which it decided to          (R4)
          SyncOnGap,    \* a second confirmation of the subscription syncs its connections           (R6)
          EnterAgain,   \* times that all are entered again after a wipe: 0, 1 or 2                  (R4a)
          KeyTells,     \* a gateway whose members expired finds its own key gone as well            (R4a)
          AskAgain      \* a page that does not come is asked for again                              (R4b)

VARIABLES last, due, found,                      \* messages committed; still in the stream; routes looked up for them
          members, key, sub, chan,               \* Redis: members; gateways' keys, subscriptions, frames on their way
          conns, rank, clock,                    \* connections; their order of entering
          st, dev, at, ask, later, hold,         \* of each connection: how far, whose, where; sync asked for, due; frames held
          outbox, again,                         \* of each gateway: changes of members to make; recovery from a wipe
          cur, got, cursor, known, start,        \* of each device: its connection, messages, cursor in MySQL
          left                                   \* faults left
worker == <<last, due, found>>
redis  == <<members, key, sub, chan>>
gates  == <<conns, rank, clock, st, dev, at, ask, later, hold, outbox, again>>
device == <<cur, got, cursor, known, start>>
vars   == <<worker, redis, gates, device, left>>

Conns == 1..MaxConn
Msgs  == 1..NMsg
Max(S) == CHOOSE x \in S : \A y \in S : y <= x
Range(s) == {s[i] : i \in 1..Len(s)}
Whole(S) == Max({n \in 0..NMsg : \A m \in 1..n : m \in S})          \* contiguous from the start
Holds(d) == got[d] \cup 1..start[d]
Here(g) == {c \in Conns : at[c] = g /\ st[c] \in {"entered", "asked", "open"}}
Fault(k) == k \in Kinds /\ left > 0 /\ left' = left - 1

Init ==
  /\ last = 0 /\ due = {} /\ found = [n \in Msgs |-> <<>>]
  /\ members = {} /\ key = [g \in Gateways |-> TRUE] /\ sub = [g \in Gateways |-> TRUE]
  /\ chan = [g \in Gateways |-> {}]
  /\ conns = 0 /\ rank = [c \in Conns |-> 0] /\ clock = 0
  /\ st = [c \in Conns |-> "none"] /\ dev = [c \in Conns |-> None] /\ at = [c \in Conns |-> None]
  /\ ask = [c \in Conns |-> FALSE] /\ later = [c \in Conns |-> FALSE] /\ hold = [c \in Conns |-> {}]
  /\ outbox = [g \in Gateways |-> <<>>] /\ again = [g \in Gateways |-> 0]
  /\ cur = [d \in Devices |-> 0] /\ got = [d \in Devices |-> {}] /\ cursor = [d \in Devices |-> 0]
  /\ known = {} /\ start = [d \in Devices |-> 0]
  /\ left = Budget

------------------------------------------------------------------------------
(* The worker: commit, look the routes up, publish and settle *)
Commit == /\ last < NMsg /\ last' = last + 1 /\ due' = due \cup {last + 1}
          /\ (LookAfter \/ found[last + 1] # <<>>)
          /\ UNCHANGED <<found, redis, gates, device, left>>
Look(n) == /\ (IF LookAfter THEN n \in due ELSE n = last + 1 \/ n \in due) /\ found[n] = <<>>
           /\ found' = [found EXCEPT ![n] = <<members>>]
           /\ UNCHANGED <<last, due, redis, gates, device, left>>
To(g, fs) == [h \in Gateways |-> IF h = g /\ sub[g] THEN chan[h] \cup fs ELSE chan[h]]
Publish(n) ==
  /\ n <= last /\ found[n] # <<>> /\ found' = [found EXCEPT ![n] = <<>>] /\ due' = due \ {n}
  /\ chan' = [g \in Gateways |-> IF sub[g] THEN chan[g] \cup {[k |-> "msg", c |-> c, ns |-> {n}] : c \in {x \in found[n][1] : at[x] = g}}
                                ELSE chan[g]]
  /\ UNCHANGED <<last, members, key, sub, gates, device, left>>
Crash(n) == \* after the commit; the entry is still in the stream, and its next owner publishes it
  /\ Fault("crash") /\ found[n] # <<>> /\ n <= last /\ found' = [found EXCEPT ![n] = <<>>]
  /\ UNCHANGED <<last, due, redis, gates, device>>

------------------------------------------------------------------------------
(* Connections *)
Connect(d, g) == \* the old connection may still look open to its gateway
  /\ cur[d] = 0 /\ conns < MaxConn /\ sub[g]
  /\ LET c == conns + 1 IN
     /\ conns' = c /\ cur' = [cur EXCEPT ![d] = c]
     /\ dev' = [dev EXCEPT ![c] = d] /\ at' = [at EXCEPT ![c] = g]
     /\ IF EnterFirst
        THEN /\ st' = [st EXCEPT ![c] = "entering"] /\ outbox' = [outbox EXCEPT ![g] = Append(@, <<"enter", c>>)]
             /\ UNCHANGED ask
        ELSE st' = [st EXCEPT ![c] = "asked"] /\ ask' = [ask EXCEPT ![c] = TRUE] /\ UNCHANGED outbox
  /\ UNCHANGED <<worker, redis, rank, clock, later, hold, again, got, cursor, known, start, left>>
Takes(g) == IF InOrder THEN {1} ELSE 1..Len(outbox[g])
Forward(g, i) == \* one change of the outbox reaches Redis
  /\ outbox[g] # <<>> /\ i \in Takes(g)
  /\ LET what == outbox[g][i][1]  c == outbox[g][i][2] IN
     /\ outbox' = [outbox EXCEPT ![g] = SubSeq(@, 1, i - 1) \o SubSeq(@, i + 1, Len(@))]
     /\ IF what = "enter"
        THEN /\ members' = members \cup {c}
             /\ rank' = [rank EXCEPT ![c] = IF @ = 0 THEN clock + 1 ELSE @]
             /\ clock' = IF rank[c] = 0 THEN clock + 1 ELSE clock
             /\ st' = [st EXCEPT ![c] = IF @ = "entering" THEN "entered" ELSE @]
        ELSE /\ members' = IF OwnOnly THEN members \ {c} ELSE {m \in members : dev[m] # dev[c]}
             /\ UNCHANGED <<rank, clock, st>>
  /\ UNCHANGED <<worker, key, sub, chan, conns, dev, at, ask, later, hold, again, device, left>>
Entered(c) == \* the answer to that: now ask for the first page, and with it for admission
  /\ st[c] = "entered" /\ st' = [st EXCEPT ![c] = "asked"] /\ ask' = [ask EXCEPT ![c] = EnterFirst]
  /\ UNCHANGED <<worker, redis, conns, rank, clock, dev, at, later, hold, outbox, again, device, left>>
Answer(c) == \* any worker: registers a new device, reads MySQL, and says which older connections are replaced
  /\ ask[c] /\ st[c] \in {"asked", "open"}
  /\ \A f \in chan[at[c]] : ~(f.k = "page" /\ f.c = c)
  /\ LET d == dev[c]  fresh == d \notin known
         from == IF fresh THEN Max({cursor[x] : x \in Devices}) ELSE cursor[d]
         same == {m \in members : dev[m] = d}
         newest == IF same = {} THEN 0 ELSE CHOOSE m \in same : \A x \in same : rank[x] <= rank[m] IN
     /\ known' = known \cup {d} /\ cursor' = [cursor EXCEPT ![d] = from]
     /\ start' = IF fresh THEN [start EXCEPT ![d] = from] ELSE start
     /\ chan' = [g \in Gateways |-> IF ~sub[g] THEN chan[g]
          ELSE chan[g] \cup (IF at[c] = g THEN {[k |-> "page", c |-> c, ns |-> {n \in Msgs : from < n /\ n <= last}]} ELSE {})
                       \cup {[k |-> "close", c |-> m, ns |-> {}] : m \in {x \in same : x # newest /\ at[x] = g}}]
     /\ ask' = IF AskAgain THEN ask ELSE [ask EXCEPT ![c] = FALSE]
  /\ UNCHANGED <<worker, members, key, sub, conns, rank, clock, st, dev, at, later, hold, outbox, again, cur, got, left>>
Leaves(c) == outbox' = [outbox EXCEPT ![at[c]] = Append(@, <<"leave", c>>)]
Give(c, ns) == got' = IF cur[dev[c]] = c THEN [got EXCEPT ![dev[c]] = @ \cup ns] ELSE got
Receive(g, f) ==
  /\ f \in chan[g] /\ chan' = [chan EXCEPT ![g] = @ \ {f}]
  /\ LET c == f.c IN
     CASE f.k = "msg" /\ st[c] = "open" -> Give(c, f.ns) /\ UNCHANGED <<gates, cur>>
       [] f.k = "msg" /\ st[c] \in {"entered", "asked"} -> \* the handshake is not over: its queue keeps it
            /\ hold' = [hold EXCEPT ![c] = @ \cup f.ns]
            /\ UNCHANGED <<conns, rank, clock, st, dev, at, ask, later, outbox, again, cur, got>>
       [] f.k = "page" /\ st[c] \in {"asked", "open"} ->
            /\ st' = [st EXCEPT ![c] = "open"] /\ ask' = [ask EXCEPT ![c] = FALSE]
            /\ Give(c, f.ns \cup hold[c]) /\ hold' = [hold EXCEPT ![c] = {}]
            /\ outbox' = IF EnterFirst \/ st[c] = "open" THEN outbox ELSE [outbox EXCEPT ![g] = Append(@, <<"enter", c>>)]
            /\ UNCHANGED <<conns, rank, clock, dev, at, later, again, cur>>
       [] f.k = "close" /\ st[c] \in {"entered", "asked", "open"} ->
            /\ st' = [st EXCEPT ![c] = "closed"] /\ Leaves(c) /\ hold' = [hold EXCEPT ![c] = {}]
            /\ ask' = [ask EXCEPT ![c] = FALSE] /\ later' = [later EXCEPT ![c] = FALSE]
            /\ cur' = IF cur[dev[c]] = c THEN [cur EXCEPT ![dev[c]] = 0] ELSE cur
            /\ UNCHANGED <<conns, rank, clock, dev, at, again, got>>
       [] OTHER -> UNCHANGED <<gates, cur, got>>
  /\ UNCHANGED <<worker, members, key, sub, cursor, known, start, left>>
Notice(c) == \* a gateway finds an old socket dead
  /\ st[c] \in {"asked", "open"} /\ cur[dev[c]] # c
  /\ st' = [st EXCEPT ![c] = "closed"] /\ Leaves(c) /\ hold' = [hold EXCEPT ![c] = {}]
  /\ ask' = [ask EXCEPT ![c] = FALSE] /\ later' = [later EXCEPT ![c] = FALSE]
  /\ UNCHANGED <<worker, redis, conns, rank, clock, dev, at, again, device, left>>
BeginSync(c) == \* one at a time; what happened meanwhile begins another
  /\ later[c] /\ ~ask[c] /\ st[c] = "open" /\ later' = [later EXCEPT ![c] = FALSE] /\ ask' = [ask EXCEPT ![c] = TRUE]
  /\ UNCHANGED <<worker, redis, conns, rank, clock, st, dev, at, hold, outbox, again, device, left>>
Ack(d) == \* Receipts shows that it arrives
  /\ cur[d] # 0 /\ d \in known /\ cursor[d] < Whole(Holds(d)) /\ cursor' = [cursor EXCEPT ![d] = Whole(Holds(d))]
  /\ UNCHANGED <<worker, redis, gates, cur, got, known, start, left>>

------------------------------------------------------------------------------
(* Recovery *)
AllLater(g) == later' = [c \in Conns |-> later[c] \/ (c \in Here(g))]
Subscribe(g) == \* confirmed again: what was published meanwhile is gone
  /\ ~sub[g] /\ sub' = [sub EXCEPT ![g] = TRUE]
  /\ IF SyncOnGap THEN AllLater(g) ELSE UNCHANGED later
  /\ UNCHANGED <<worker, members, key, chan, conns, rank, clock, st, dev, at, ask, hold, outbox, again, device, left>>
EnterAll(g) == \* those of whom the gateway knows that they were entered, in the order of their numbers
  [outbox EXCEPT ![g] = @ \o SelectSeq([i \in 1..MaxConn |-> <<"enter", i>>], LAMBDA x : x[2] \in Here(g) /\ st[x[2]] # "entered")]
FindsKeyGone(g) ==
  /\ ~key[g] /\ key' = [key EXCEPT ![g] = TRUE]
  /\ IF EnterAgain = 0 THEN AllLater(g) /\ UNCHANGED <<outbox, again>>
     ELSE outbox' = EnterAll(g) /\ again' = [again EXCEPT ![g] = EnterAgain] /\ UNCHANGED later
  /\ UNCHANGED <<worker, members, sub, chan, conns, rank, clock, st, dev, at, ask, hold, device, left>>
Recovered(g) == \* all are entered: sync them; the second time is 10 s later, when every handshake of the first is over
  /\ again[g] > 0 /\ \A i \in 1..Len(outbox[g]) : outbox[g][i][1] # "enter" \/ st[outbox[g][i][2]] = "entering"
  /\ again[g] = 2 => \A c \in Conns : at[c] = g => st[c] \notin {"entering", "entered"}
  /\ AllLater(g) /\ again' = [again EXCEPT ![g] = @ - 1]
  /\ outbox' = IF again[g] = 2 THEN EnterAll(g) ELSE outbox
  /\ UNCHANGED <<worker, redis, conns, rank, clock, st, dev, at, ask, hold, device, left>>
Sweep(c) == \* presence: a member whose gateway does not live any more
  /\ c \in members /\ st[c] = "dead" /\ members' = members \ {c}
  /\ UNCHANGED <<worker, key, sub, chan, gates, device, left>>

------------------------------------------------------------------------------
(* Faults *)
Drop(d) == /\ Fault("drop") /\ cur[d] # 0 /\ cur' = [cur EXCEPT ![d] = 0]
           /\ UNCHANGED <<worker, redis, gates, got, cursor, known, start>>
Unsubscribed(g) == \* all that is on its way is lost, and what is published until it is subscribed again
  /\ Fault("unsub") /\ sub[g] /\ sub' = [sub EXCEPT ![g] = FALSE] /\ chan' = [chan EXCEPT ![g] = {}]
  /\ UNCHANGED <<worker, members, key, gates, device>>
PageLost(g) == /\ Fault("page") /\ \E f \in chan[g] : f.k = "page" /\ chan' = [chan EXCEPT ![g] = @ \ {f}]
               /\ UNCHANGED <<worker, members, key, sub, gates, device>>
Wipe == /\ Fault("wipe") /\ members' = {} /\ key' = [g \in Gateways |-> FALSE] /\ due' = {}
        /\ UNCHANGED <<last, found, sub, chan, gates, device>>
Expired(c) == \* a gateway that was cut off for longer than its members live; its key lives shorter
  /\ Fault("expire") /\ c \in members /\ st[c] = "open" /\ members' = members \ {c}
  /\ key' = IF KeyTells THEN [key EXCEPT ![at[c]] = FALSE] ELSE key
  /\ UNCHANGED <<worker, sub, chan, gates, device>>
GatewayDies(g) == \* its members stay; another process takes its place
  /\ Fault("gateway") /\ Here(g) # {}
  /\ st' = [c \in Conns |-> IF at[c] = g THEN "dead" ELSE st[c]]
  /\ cur' = [d \in Devices |-> IF cur[d] # 0 /\ at[cur[d]] = g THEN 0 ELSE cur[d]]
  /\ ask' = [c \in Conns |-> ask[c] /\ at[c] # g] /\ later' = [c \in Conns |-> later[c] /\ at[c] # g]
  /\ hold' = [c \in Conns |-> IF at[c] = g THEN {} ELSE hold[c]]
  /\ outbox' = [outbox EXCEPT ![g] = <<>>] /\ again' = [again EXCEPT ![g] = 0] /\ chan' = [chan EXCEPT ![g] = {}]
  /\ UNCHANGED <<worker, members, key, sub, conns, rank, clock, dev, at, got, cursor, known, start>>

Progress ==
  \/ Commit \/ (\E n \in Msgs : Look(n) \/ Publish(n))
  \/ \E g \in Gateways : \/ (\E i \in 1..Len(outbox[g]) : Forward(g, i))
                         \/ (\E f \in chan[g] : Receive(g, f)) \/ Subscribe(g) \/ FindsKeyGone(g) \/ Recovered(g)
  \/ \E c \in Conns : Entered(c) \/ Answer(c) \/ Notice(c) \/ BeginSync(c) \/ Sweep(c)
  \/ \E d \in Devices : Ack(d)
Faults ==
  \/ Wipe \/ (\E n \in Msgs : Crash(n)) \/ (\E d \in Devices : Drop(d)) \/ (\E c \in Conns : Expired(c))
  \/ \E g \in Gateways : Unsubscribed(g) \/ PageLost(g) \/ GatewayDies(g)
Next == Progress \/ Faults \/ \E d \in Devices, g \in Gateways : Connect(d, g)
Spec == Init /\ [][Next]_vars

------------------------------------------------------------------------------
(* What is promised *)
Complete(d) == cur[d] # 0 => /\ \A n \in Msgs : n <= last => n \in Holds(d)
                             /\ cursor[d] = last
Settles == (~ENABLED Progress) => /\ last = NMsg
                                  /\ \A d \in Devices : Complete(d)                              \* G5, G8
                                  /\ \A d \in Devices : cur[d] # 0 => cur[d] \in members          \* and the next one too
Clean == (~ENABLED Progress) => members = {c \in Conns : st[c] = "open"}                          \* nobody who is not there
OwnWord == \A d \in Devices : cursor[d] <= Whole(Holds(d))                                        \* G6
Sym == Permutations(Devices) \cup Permutations(Gateways)
=============================================================================
