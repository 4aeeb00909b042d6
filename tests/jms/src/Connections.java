import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import javax.jms.Connection;
import javax.jms.ConnectionMetaData;
import javax.jms.IllegalStateException;
import javax.jms.InvalidClientIDException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQQueue;

/** Connections and sessions: opening, starting, stopping, names, closing. */
final class Connections extends JmsTest {
    @Test
    void the_broker_tells_its_name_id_and_address() throws Exception {
        ActiveMQConnection connection = connect();
        equal("jms", connection.getBrokerName());
        check(connection.getBrokerInfo().getBrokerId().getValue().startsWith("ID:"),
                "id " + connection.getBrokerInfo().getBrokerId());
        String address = connection.getBrokerInfo().getBrokerURL();
        check(address.matches("tcp://[^:/?]+:" + Broker.shared().port()), "address " + address);
        check(!connection.getBrokerInfo().isSlaveBroker(), "it calls itself a slave");
    }

    @Test
    void metadata_names_the_provider_and_the_jmsx_properties() throws Exception {
        ConnectionMetaData data = connect().getMetaData();
        equal("ActiveMQ", data.getJMSProviderName());
        check(Collections.list(data.getJMSXPropertyNames()).contains("JMSXGroupID"), "no JMSXGroupID");
    }

    @Test
    void nothing_is_delivered_before_start() throws Exception {
        ActiveMQConnection connection = unstarted(url(""));
        Session session = auto(connection);
        MessageConsumer consumer = session.createConsumer(queue());
        send(session, queue(), "early");
        nothing(consumer);
        connection.start();
        equal("early", takeText(consumer));
    }

    @Test
    void a_stopped_connection_delivers_again_when_it_is_started() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        MessageConsumer consumer = session.createConsumer(queue());
        send(session, queue(), "one", "two");
        equal("one", takeText(consumer));
        connection.stop();
        nothing(consumer);
        connection.start();
        equal("two", takeText(consumer));
    }

    @Test
    void messages_sent_before_anyone_listens_wait_in_the_queue() throws Exception {
        ActiveMQConnection connection = connect();
        send(auto(connection), queue(), "one", "two");
        connection.close();
        equal(List.of("one", "two"), drain(queue()));
    }

    @Test
    void a_listener_gets_every_message_in_order() throws Exception {
        ActiveMQConnection connection = connect();
        List<String> got = Collections.synchronizedList(new ArrayList<>());
        CountDownLatch all = new CountDownLatch(500);
        auto(connection).createConsumer(queue()).setMessageListener(message -> {
            try {
                got.add(((TextMessage) message).getText());
            } catch (Exception e) {
                got.add("" + e);
            }
            all.countDown();
        });
        sendNumbers(auto(connection), queue(), 500);
        check(all.await(SOON, TimeUnit.MILLISECONDS), "only " + got.size() + " came");
        equal(numbers(0, 500), got);
    }

    @Test
    void a_listener_may_reply_in_its_own_session() throws Exception {
        ActiveMQConnection connection = connect();
        Session service = auto(connection);
        service.createConsumer(queue("request")).setMessageListener(message -> {
            try {
                MessageProducer producer = service.createProducer(message.getJMSReplyTo());
                producer.send(service.createTextMessage("re: " + ((TextMessage) message).getText()));
                producer.close();
            } catch (Exception e) {
                throw new RuntimeException(e);
            }
        });
        Session session = auto(connection);
        MessageConsumer replies = session.createConsumer(queue("reply"));
        MessageProducer producer = session.createProducer(queue("request"));
        for (String text : List.of("a", "b")) {
            Message message = session.createTextMessage(text);
            message.setJMSReplyTo(queue("reply"));
            producer.send(message);
            equal("re: " + text, takeText(replies));
        }
    }

    @Test
    void sessions_of_one_connection_work_at_the_same_time() throws Exception {
        ActiveMQConnection connection = connect();
        Set<String> wrong = new ConcurrentSkipListSet<>();
        List<Thread> threads = new ArrayList<>();
        for (int i = 0; i < 16; i++) {
            ActiveMQQueue own = queue("" + i);
            Thread thread = new Thread(() -> {
                try {
                    Session session = auto(connection);
                    MessageConsumer consumer = session.createConsumer(own);
                    for (int n = 0; n < 50; n++) {
                        send(session, own, "" + n);
                        equal("" + n, takeText(consumer));
                    }
                    session.close();
                } catch (Throwable e) {
                    wrong.add(own + ": " + e);
                }
            });
            thread.start();
            threads.add(thread);
        }
        for (Thread thread : threads) {
            thread.join();
        }
        equal(Set.of(), wrong);
    }

    @Test
    void one_connection_has_many_sessions_consumers_and_producers() throws Exception {
        ActiveMQConnection connection = connect();
        List<MessageConsumer> consumers = new ArrayList<>();
        for (int i = 0; i < 200; i++) {
            consumers.add(auto(connection).createConsumer(queue("" + i)));
        }
        for (int i = 0; i < 200; i++) {
            send(auto(connection), queue("" + i), "for " + i);
        }
        for (int i = 0; i < 200; i++) {
            equal("for " + i, takeText(consumers.get(i)));
        }
    }

    @Test
    void closing_a_connection_ends_a_receive_that_waits() throws Exception {
        ActiveMQConnection connection = connect();
        MessageConsumer consumer = auto(connection).createConsumer(queue());
        CountDownLatch ended = new CountDownLatch(1);
        Thread thread = new Thread(() -> {
            try {
                if (consumer.receive() == null) {
                    ended.countDown();
                }
            } catch (Exception e) {
                throw new RuntimeException(e);
            }
        });
        thread.start();
        eventually("the thread waits", () -> thread.getState() == Thread.State.WAITING
                || thread.getState() == Thread.State.TIMED_WAITING);
        connection.close();
        check(ended.await(SOON, TimeUnit.MILLISECONDS), "receive did not return null");
    }

    @Test
    void a_closed_session_gives_back_what_it_had_not_acknowledged() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = client(connection);
        send(session, queue(), "one", "two");
        equal("one", takeText(session.createConsumer(queue())));
        session.close();
        equal(List.of("one", "two"), takeAll(auto(connection).createConsumer(queue())));
    }

    @Test
    void a_client_id_is_kept_and_cannot_be_set_twice() throws Exception {
        ActiveMQConnection connection = unstarted(url(""));
        connection.setClientID(name());
        connection.start();
        equal(name(), connection.getClientID());
        refused(IllegalStateException.class, () -> connection.setClientID("other"));
    }

    @Test
    void a_client_id_that_is_connected_is_refused_with_the_address_of_the_other() throws Exception {
        ActiveMQConnection first = unstarted(url(""));
        first.setClientID(name());
        first.start();
        ActiveMQConnection second = unstarted(url(""));
        InvalidClientIDException refusal =
                refused(InvalidClientIDException.class, () -> second.setClientID(name()));
        check(refusal.getMessage().matches("Broker: jms - Client: " + name()
                + " already connected from tcp://127\\.0\\.0\\.1:\\d+"), refusal.getMessage());
        Session session = auto(first);
        send(session, queue(), "still here");
        equal("still here", takeText(session.createConsumer(queue())));
    }

    @Test
    void a_client_id_is_free_when_its_connection_is_closed() throws Exception {
        for (int i = 0; i < 5; i++) {
            ActiveMQConnection connection = unstarted(url(""));
            connection.setClientID(name());
            connection.start();
            send(auto(connection), queue(), "" + i);
            connection.close();
        }
        equal(numbers(0, 5), drain(queue()));
    }

    @Test
    void a_client_id_is_free_when_its_socket_is_gone() throws Exception {
        Proxy proxy = closeAfter(new Proxy(Broker.shared().port()));
        ActiveMQConnection first = unstarted(proxy.url());
        first.setClientID(name());
        first.start();
        proxy.cut();
        eventually("the id is free", () -> {
            Connection second = factory(url("")).createConnection();
            try {
                second.setClientID(name());
                second.start();
                return true;
            } catch (InvalidClientIDException e) {
                return false;
            } finally {
                second.close();
            }
        });
    }

    @Test
    void a_client_id_goes_to_another_when_its_owner_answers_no_more() throws Exception {
        Proxy proxy = closeAfter(new Proxy(Broker.shared().port()));
        ActiveMQConnection silent = unstarted(proxy.url());
        silent.setClientID(name());
        silent.start();
        auto(silent).createDurableSubscriber(topic(), "durable");
        send(auto(connect()), topic(), "kept");
        proxy.freeze();
        ActiveMQConnection second = unstarted(url(""));
        if (Broker.isActiveMq()) {
            refused(InvalidClientIDException.class, () -> second.setClientID(name()));
            return;
        }
        second.setClientID(name());
        second.start();
        equal("kept", takeText(auto(second).createDurableSubscriber(topic(), "durable")));
    }

    @Test
    void an_exception_listener_hears_that_the_socket_is_gone() throws Exception {
        Proxy proxy = closeAfter(new Proxy(Broker.shared().port()));
        ActiveMQConnection connection = connectTo(proxy.url());
        CountDownLatch heard = new CountDownLatch(1);
        connection.setExceptionListener(e -> heard.countDown());
        proxy.cut();
        check(heard.await(SOON, TimeUnit.MILLISECONDS), "nothing was heard");
    }

    @Test
    void an_idle_connection_is_kept_alive_by_both_sides() throws Exception {
        ActiveMQConnection connection = connect("wireFormat.maxInactivityDuration=1500"
                + "&wireFormat.maxInactivityDurationInitalDelay=1500");
        Session session = auto(connection);
        MessageConsumer consumer = session.createConsumer(queue());
        equal(null, consumer.receive(5000));
        send(session, queue(), "alive");
        equal("alive", takeText(consumer));
    }

    @Test
    void a_client_without_inactivity_monitor_is_served() throws Exception {
        ActiveMQConnection connection = connect("wireFormat.maxInactivityDuration=0&useInactivityMonitor=false");
        Session session = auto(connection);
        send(session, queue(), "one");
        equal("one", takeText(session.createConsumer(queue())));
    }

    @Test
    void a_peer_that_falls_silent_is_dropped() throws Exception {
        Proxy proxy = closeAfter(new Proxy(Broker.shared().port()));
        ActiveMQConnection connection = unstarted(with(proxy.url(), "wireFormat.maxInactivityDuration=600"
                + "&wireFormat.maxInactivityDurationInitalDelay=300"));
        connection.setClientID(name());
        connection.start();
        Session session = client(connection);
        send(session, queue(), "one");
        equal("one", takeText(session.createConsumer(queue())));
        proxy.freeze();
        equal("one", takeText(auto(connect()).createConsumer(queue())));
    }

    @Test
    void client_options_that_change_how_things_are_sent_work() throws Exception {
        for (String options : List.of("jms.dispatchAsync=false", "jms.useAsyncSend=true",
                "jms.alwaysSyncSend=true", "jms.alwaysSessionAsync=false", "jms.copyMessageOnSend=false",
                "jms.useRetroactiveConsumer=true", "jms.watchTopicAdvisories=false", "jms.closeTimeout=1000",
                "jms.statsEnabled=true", "jms.nestedMapAndListEnabled=false", "jms.sendTimeout=5000",
                "jms.checkForDuplicates=false", "jms.connectResponseTimeout=5000",
                "tcpNoDelay=true&keepAlive=true&soTimeout=0&socketBufferSize=4096&ioBufferSize=1024")) {
            ActiveMQConnection connection = connect(options);
            Session session = auto(connection);
            MessageConsumer consumer = session.createConsumer(queue());
            sendNumbers(session, queue(), 20);
            equal(numbers(0, 20), takeTexts(consumer, 20), options);
            connection.close();
        }
    }

    @Test
    void connections_over_the_limit_are_closed_and_those_within_stay() throws Exception {
        String url = Broker.shared().smallUrl();
        List<ActiveMQConnection> within = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            within.add(connectTo(url));
        }
        check(throwsSomething(() -> connectTo(with(url, "wireFormat.maxInactivityDurationInitalDelay=2000"))),
                "a fourth connection was accepted");
        for (ActiveMQConnection connection : within) {
            send(auto(connection), queue(), "within");
        }
        within.get(0).close();
        eventually("the place is free", () -> !throwsSomething(() ->
                connectTo(with(url, "wireFormat.maxInactivityDurationInitalDelay=2000"))));
    }

    private static boolean throwsSomething(Action action) {
        try {
            action.run();
            return false;
        } catch (Exception e) {
            return true;
        }
    }
}
