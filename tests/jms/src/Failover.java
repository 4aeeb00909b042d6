import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TemporaryQueue;
import javax.jms.TextMessage;
import javax.jms.TransactionRolledBackException;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQMessageConsumer;
import org.apache.activemq.ActiveMQSession;
import org.apache.activemq.transport.DefaultTransportListener;

/** Clients with failover: addresses, whose socket breaks and who come back to the same broker. */
final class Failover extends JmsTest {
    private Proxy proxy;
    private final AtomicInteger resumed = new AtomicInteger();

    /** A connection through a proxy that can break it. */
    private ActiveMQConnection reconnecting(String options) throws Exception {
        if (proxy == null) {
            proxy = closeAfter(new Proxy(Broker.shared().port()));
        }
        ActiveMQConnection connection = unstarted("failover:(" + proxy.url()
                + ")?initialReconnectDelay=10&maxReconnectDelay=50&useExponentialBackOff=false" + options);
        connection.addTransportListener(new DefaultTransportListener() {
            @Override
            public void transportResumed() {
                resumed.incrementAndGet();
            }
        });
        connection.start();
        return connection;
    }

    /** Breaks the connections and waits until one is back. */
    private void cut() throws Exception {
        int before = resumed.get();
        proxy.cut();
        eventually("the client is back", () -> resumed.get() > before);
    }

    @Test
    void a_consumer_comes_back() throws Exception {
        MessageConsumer consumer = auto(reconnecting("")).createConsumer(queue());
        Session other = auto(connect());
        for (int i = 0; i < 5; i++) {
            send(other, queue(), "" + i);
            takeAfterCut(consumer, "" + i);
            cut();
        }
    }

    @Test
    void a_consumer_comes_back_with_its_prefetch() throws Exception {
        ActiveMQMessageConsumer consumer = (ActiveMQMessageConsumer)
                auto(reconnecting("&jms.prefetchPolicy.all=5")).createConsumer(queue());
        cut();
        Session other = auto(connect());
        sendNumbers(other, queue(), 20);
        eventually("it holds five", () -> consumer.getMessageSize() == 5);
        equal(numbers(5, 20), takeTexts(other.createConsumer(queue()), 15));
        equal(numbers(0, 5), takeTexts(consumer, 5));
    }

    @Test
    void a_consumer_comes_back_with_its_selector() throws Exception {
        MessageConsumer consumer = auto(reconnecting("")).createConsumer(queue(), "i = 1");
        cut();
        Session other = auto(connect());
        for (int i = 0; i < 3; i++) {
            Message message = other.createTextMessage("" + i);
            message.setIntProperty("i", i);
            other.createProducer(queue()).send(message);
        }
        equal("1", takeText(consumer));
        nothing(consumer);
    }

    @Test
    void a_topic_consumer_and_a_wildcard_come_back() throws Exception {
        Session session = auto(reconnecting(""));
        MessageConsumer topic = session.createConsumer(topic());
        MessageConsumer wildcard = session.createConsumer(queue(">"));
        cut();
        Session other = auto(connect());
        send(other, topic(), "t");
        send(other, queue("A"), "a");
        equal("t", takeText(topic));
        equal("a", takeText(wildcard));
    }

    @Test
    void a_pulling_consumer_comes_back() throws Exception {
        MessageConsumer consumer = auto(reconnecting("&jms.prefetchPolicy.all=0")).createConsumer(queue());
        cut();
        equal(null, consumer.receiveNoWait());
        Session other = auto(connect());
        sendNumbers(other, queue(), 3);
        equal("0", takeText(consumer));
        equal(List.of("1", "2"), takeTexts(other.createConsumer(queue()), 2));
    }

    @Test
    void a_pull_that_waits_goes_on_after_the_break() throws Exception {
        MessageConsumer consumer = auto(reconnecting("&jms.prefetchPolicy.all=0")).createConsumer(queue());
        CompletableFuture<Message> got = new CompletableFuture<>();
        Thread thread = new Thread(() -> {
            try {
                got.complete(consumer.receive());
            } catch (JMSException e) {
                got.completeExceptionally(e);
            }
        });
        thread.start();
        eventually("it waits", () -> thread.getState() == Thread.State.WAITING);
        cut();
        send(auto(connect()), queue(), "after");
        equal("after", ((TextMessage) got.get(SOON, TimeUnit.MILLISECONDS)).getText());
    }

    @Test
    void a_producer_goes_on_and_loses_nothing() throws Exception {
        Session session = auto(reconnecting(""));
        MessageProducer producer = session.createProducer(queue());
        for (int i = 0; i < 300; i++) {
            if (i % 60 == 30) {
                proxy.cut();
            }
            producer.send(session.createTextMessage("" + i));
        }
        // A send whose answer was lost is sent again, so one may be there twice.
        equal(numbers(0, 300), new ArrayList<>(new LinkedHashSet<>(drain(queue()))));
    }

    @Test
    void a_send_waits_while_the_broker_cannot_be_reached() throws Exception {
        Session session = auto(reconnecting(""));
        MessageProducer producer = session.createProducer(queue());
        proxy.refuse();
        CompletableFuture<Void> sent = CompletableFuture.runAsync(() -> {
            try {
                producer.send(session.createTextMessage("late"));
            } catch (JMSException e) {
                throw new RuntimeException(e);
            }
        });
        equal(List.of(), drain(queue()));
        check(!sent.isDone(), "sent to nobody");
        proxy.admit();
        sent.get(SOON, TimeUnit.MILLISECONDS);
        equal(List.of("late"), drain(queue()));
    }

    @Test
    void a_temporary_queue_comes_back_with_its_consumer() throws Exception {
        Session session = auto(reconnecting(""));
        TemporaryQueue replies = session.createTemporaryQueue();
        MessageConsumer consumer = session.createConsumer(replies);
        MessageProducer requests = session.createProducer(queue());
        Session serving = auto(connect("jms.watchTopicAdvisories=false"));
        MessageConsumer server = serving.createConsumer(queue());
        for (int i = 0; i < 3; i++) {
            Message request = session.createTextMessage("" + i);
            request.setJMSReplyTo(replies);
            requests.send(request);
            Message got = take(server);
            serving.createProducer(null).send(got.getJMSReplyTo(), serving.createTextMessage("re " + i));
            takeAfterCut(consumer, "re " + i);
            cut();
        }
    }

    @Test
    void unacknowledged_messages_come_again() throws Exception {
        Session session = client(reconnecting(""));
        MessageConsumer consumer = session.createConsumer(queue());
        send(auto(connect()), queue(), "one", "two");
        equal("one", takeText(consumer));
        cut();
        Message again = take(consumer);
        equal("one", ((TextMessage) again).getText());
        equal(true, again.getJMSRedelivered());
        Message second = take(consumer);
        equal("two", ((TextMessage) second).getText());
        second.acknowledge();
        session.close();
        equal(List.of(), drain(queue()));
    }

    @Test
    void an_acknowledgement_from_before_the_break_does_no_harm() throws Exception {
        ActiveMQConnection connection = reconnecting("");
        Session session = connection.createSession(false, ActiveMQSession.INDIVIDUAL_ACKNOWLEDGE);
        MessageConsumer consumer = session.createConsumer(queue());
        send(auto(connect()), queue(), "one");
        Message before = take(consumer);
        cut();
        before.acknowledge();
        Message again = consumer.receive(MOMENT);
        if (again != null) {
            again.acknowledge();
        }
        connection.close();
        equal(List.of(), drain(queue()));
    }

    @Test
    void sends_of_an_open_transaction_are_sent_again_and_committed_once() throws Exception {
        Session session = transacted(reconnecting(""));
        MessageProducer producer = session.createProducer(queue());
        for (int i = 0; i < 10; i++) {
            if (i == 5) {
                cut();
            }
            producer.send(session.createTextMessage("" + i));
        }
        equal(List.of(), drain(queue()));
        session.commit();
        equal(numbers(0, 10), drain(queue()));
    }

    @Test
    void an_open_transaction_can_be_rolled_back_after_the_break() throws Exception {
        Session session = transacted(reconnecting(""));
        send(session, queue(), "dropped");
        cut();
        session.rollback();
        send(session, queue(), "kept");
        session.commit();
        equal(List.of("kept"), drain(queue()));
    }

    @Test
    void what_a_transaction_received_is_committed_once_or_comes_again() throws Exception {
        Session session = transacted(reconnecting(""));
        MessageConsumer consumer = session.createConsumer(queue());
        sendNumbers(auto(connect()), queue(), 9);
        Set<String> committed = new HashSet<>();
        boolean broken = false;
        while (committed.size() < 9) {
            List<String> batch = takeTexts(consumer, 3);
            if (!broken) {
                cut();
                broken = true;
            }
            try {
                session.commit();
                for (String text : batch) {
                    check(committed.add(text), text + " was committed twice");
                }
            } catch (TransactionRolledBackException rolledBack) {
                // The client could not know what the broker did; the messages come again.
            }
        }
        session.close();
        equal(new HashSet<>(numbers(0, 9)), committed);
        equal(List.of(), drain(queue()));
    }

    @Test
    void a_listener_hears_everything_over_several_breaks() throws Exception {
        int count = 400;
        Set<String> seen = java.util.concurrent.ConcurrentHashMap.newKeySet();
        CountDownLatch all = new CountDownLatch(count);
        auto(reconnecting("&jms.prefetchPolicy.all=20")).createConsumer(queue()).setMessageListener(message -> {
            try {
                if (seen.add(((TextMessage) message).getText())) {
                    all.countDown();
                }
            } catch (JMSException e) {
                throw new RuntimeException(e);
            }
        });
        Session other = auto(connect());
        MessageProducer producer = other.createProducer(queue());
        for (int i = 0; i < count; i++) {
            producer.send(other.createTextMessage("" + i));
            if (i % 100 == 50) {
                cut();
            }
        }
        check(all.await(SOON, TimeUnit.MILLISECONDS), all.getCount() + " missing");
    }

    @Test
    void a_durable_subscriber_comes_back_under_its_client_id() throws Exception {
        if (proxy == null) {
            proxy = closeAfter(new Proxy(Broker.shared().port()));
        }
        ActiveMQConnection connection = unstarted("failover:(" + proxy.url() + ")?initialReconnectDelay=10");
        connection.setClientID(name());
        connection.start();
        Session session = auto(connection);
        MessageConsumer subscriber = session.createDurableSubscriber(topic(), "durable");
        Session other = auto(connect());
        proxy.refuse();
        send(other, topic(), "while away");
        proxy.admit();
        equal("while away", takeText(subscriber));
        send(other, topic(), "while back");
        equal("while back", takeText(subscriber));
        subscriber.close();
        session.unsubscribe("durable");
    }

    @Test
    void many_sessions_consumers_and_producers_come_back() throws Exception {
        ActiveMQConnection connection = reconnecting("");
        List<Session> sessions = new ArrayList<>();
        List<MessageConsumer> consumers = new ArrayList<>();
        List<MessageProducer> producers = new ArrayList<>();
        for (int i = 0; i < 30; i++) {
            Session session = auto(connection);
            sessions.add(session);
            consumers.add(session.createConsumer(queue("" + i)));
            producers.add(session.createProducer(queue("" + i)));
        }
        cut();
        for (int i = 0; i < 30; i++) {
            producers.get(i).send(sessions.get(i).createTextMessage("" + i));
            equal("" + i, takeText(consumers.get(i)));
        }
    }

    @Test
    void what_was_closed_before_the_break_does_not_come_back() throws Exception {
        Session session = auto(reconnecting(""));
        session.createConsumer(queue()).close();
        session.createProducer(queue()).close();
        session.createConsumer(queue("other"));
        cut();
        send(auto(connect()), queue(), "for nobody");
        equal(List.of("for nobody"), drain(queue()));
    }

    @Test
    void the_first_address_that_answers_is_taken() throws Exception {
        int nobody;
        try (java.net.ServerSocket free = new java.net.ServerSocket(0)) {
            nobody = free.getLocalPort();
        }
        ActiveMQConnection connection = unstarted("failover:(tcp://127.0.0.1:" + nobody + ","
                + Broker.shared().url() + ")?randomize=false&initialReconnectDelay=10");
        connection.start();
        send(auto(connection), queue(), "one");
        equal(List.of("one"), drain(queue()));
    }

    @Test
    void breaks_while_sessions_open_and_close_leave_no_one_stuck() throws Exception {
        ActiveMQConnection connection = reconnecting("");
        ConcurrentLinkedQueue<Throwable> wrong = new ConcurrentLinkedQueue<>();
        Thread worker = new Thread(() -> {
            try {
                for (int i = 0; i < 100; i++) {
                    Session session = auto(connection);
                    MessageConsumer consumer = session.createConsumer(queue("" + i));
                    send(session, queue("" + i), "" + i);
                    equal("" + i, takeText(consumer));
                    session.close();
                }
            } catch (Throwable e) {
                wrong.add(e);
            }
        });
        worker.start();
        while (worker.isAlive()) {
            worker.join(100);
            proxy.cut();
        }
        equal(List.of(), new ArrayList<>(wrong));
    }

    @Test
    void a_producer_window_is_open_again_after_the_break() throws Exception {
        Session session = auto(reconnecting("&jms.useAsyncSend=true&jms.producerWindowSize=5000"));
        MessageProducer producer = session.createProducer(queue());
        for (int i = 0; i < 100; i++) {
            producer.send(session.createTextMessage("x".repeat(500)));
        }
        cut();
        MessageProducer next = session.createProducer(queue("next"));
        for (int i = 0; i < 100; i++) {
            next.send(session.createTextMessage("" + i));
        }
        equal(numbers(0, 100), drain(queue("next")));
    }
}
